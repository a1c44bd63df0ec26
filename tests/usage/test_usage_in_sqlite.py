"""What can go wrong with a file, and that nothing is lost or doubled by it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.apps.usage.store import Totals, UsageStore, Written
from forebay.clock import ManualClock
from forebay.errors import StoreError
from tests.usage.conftest import sqlite_sql
from tests.usage.events import LOG, NOON_MS, pack


async def in_file(path: Path) -> UsageStore:
    return await SqliteUsageStore.open(path, clock=ManualClock(NOON_MS), durable=False)


async def test_a_transaction_that_fails_at_its_end_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    store = await in_file(path)
    sqlite_sql(path)(
        "CREATE TRIGGER failing BEFORE INSERT ON current_usage"
        " BEGIN SELECT RAISE(ABORT, 'of the test'); END"
    )
    packs = [pack("p1", LOG, LOG, times=[NOON_MS, 0]), pack("e1", LOG, sealed=False)]
    with pytest.raises(StoreError, match="of the test"):
        await store.write(packs)
    assert await store.totals() == Totals(0, 0, 0, 0)
    sqlite_sql(path)("DROP TRIGGER failing")
    assert await store.write(packs) == Written(2, 1, 2, 0, {"too old": 1})
    assert await store.totals() == Totals(2, 2, 1, 1)
    await store.close()


async def test_stores_on_one_file_write_each_pack_once(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    stores = [await in_file(path) for _ in range(3)]
    packs = [pack(f"p{number}", LOG, LOG, sealed=True) for number in range(20)]
    answers = await asyncio.gather(
        *(store.write(packs[start : start + 10]) for store in stores for start in (0, 5, 10))
    )
    assert sum(each.packs for each in answers) == 20
    assert await stores[0].totals() == Totals(40, 40, 0, 20)
    for store in stores:
        await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await in_file(tmp_path / "usage.sqlite3")
    await store.close()
    with pytest.raises(StoreError, match="was closed; open it again"):
        await store.write([pack("p1", LOG)])


def test_the_store_in_a_file_needs_no_psycopg() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import forebay.apps.usage.sqlite\n"
        "import forebay.apps.usage.postgres"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        'ImportError: The store in PostgreSQL needs psycopg: pip install "forebay[postgres]"'
        in done.stderr
    )
