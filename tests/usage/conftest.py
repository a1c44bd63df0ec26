"""The usage stores under their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from forebay.apps.usage.retention import Retention
from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.apps.usage.store import UsageStore
from forebay.clock import ManualClock
from tests.usage.events import NOON_MS

#: Runs a query on another connection, as somebody who looks at the tables does.
Sql = Callable[[str], list[tuple[Any, ...]]]


class Opened:
    """A store under test, and what is asked of its tables."""

    def __init__(self, store: UsageStore, sql: Sql, kind: str) -> None:
        self.store = store
        self.sql = sql
        self.kind = kind


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON_MS)


@pytest.fixture(params=["sqlite"])
async def opened(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Opened]:
    path = tmp_path / "usage.sqlite3"

    def sql(query: str) -> list[tuple[Any, ...]]:
        with closing(apsw.Connection(str(path))) as other_process:
            return other_process.execute(query).fetchall()

    store = await SqliteUsageStore.open(path, retention=Retention(), clock=clock, durable=False)
    yield Opened(store, sql, "sqlite")
    await store.close()
    await store.close()


@pytest.fixture
def store(opened: Opened) -> UsageStore:
    return opened.store


@pytest.fixture
def sql(opened: Opened) -> Sql:
    return opened.sql
