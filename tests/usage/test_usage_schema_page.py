"""The queries of the page about the tables run, and say what it says."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
from msgspec import Struct

from forebay.apps.usage.event_table import EVENT_TABLES, EventTable
from forebay.apps.usage.postgres import PostgresUsageStore
from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.clock import ManualClock, SystemClock
from forebay.worker.packs import Pack, Record
from tests.usage.conftest import postgres_sql, sqlite_sql
from tests.usage.events import DAY_MS, LOG, pack

PAGE = Path(__file__).parents[2] / "docs/reference/usage-schema.md"


class Search(Struct, frozen=True):
    words: str
    hits: int
    seconds: float | None = None


TABLES = (*EVENT_TABLES, EventTable("search", Search, "searches"))


def searches() -> Pack[Search]:
    now_ms = SystemClock().wall_ms()
    found = [Search("a b", 2, 0.25), Search('c"', 0)]
    return Pack(
        *("s1", "search", "api-1"),
        sealed=True,
        records=[Record(index, now_ms, each) for index, each in enumerate(found)],
    )


def statements() -> list[str]:
    blocks = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [each for block in blocks for each in block.split(";\n") if each.strip()]


async def test_the_statements_run_and_a_type_of_ones_own_is_written(postgres: str) -> None:
    now_ms = SystemClock().wall_ms()
    last_week = ManualClock(now_ms - 7 * DAY_MS)
    before = await PostgresUsageStore.open(postgres, clock=last_week)
    await before.maintain()
    await before.close()
    store = await PostgresUsageStore.open(postgres, tables=TABLES)
    await store.write([pack("p1", LOG, LOG, times=[now_ms, 0]), pack("p2", LOG, at_ms=now_ms)])
    said = {}
    with psycopg.connect(postgres, autocommit=True) as connection:
        for statement in statements():
            if "_ms >=" in statement:
                plan = connection.execute(f"EXPLAIN {statement}".encode()).fetchall()
                assert any("Subplans Removed" in line for (line,) in plan)
            cursor = connection.execute(statement.encode())
            if cursor.description:
                said[cursor.description[0].name] = cursor.fetchall()
    assert said["rows"] == [(2, 2)]
    assert said["id"] == [("p1", 0, "BTC"), ("p2", 0, "BTC")]
    assert said["twice"] == [(0,)]
    assert len(said["at"]) == 2
    assert [row[:2] for row in said["why"]] == [("too old", 1)]
    assert (await store.write([searches(), searches()])).rows == 2
    assert "searches" in {each.table for each in (await store.partitions())}
    await store.close()
    assert postgres_sql(postgres)("SELECT words, hits, seconds FROM searches ORDER BY 1") == [
        ("a b", 2, 0.25),
        ('c"', 0, None),
    ]


async def test_a_type_of_ones_own_is_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    store = await SqliteUsageStore.open(path, tables=TABLES, durable=False)
    (table,) = (each for each in statements() if each.startswith("CREATE TABLE searches"))
    sqlite_sql(path)(table.replace("PARTITION BY RANGE (at_ms)", ""))
    assert (await store.write([searches(), searches()])).rows == 2
    assert (await store.maintain()).dropped == ()
    await store.close()
    assert sqlite_sql(path)("SELECT words, hits, seconds FROM searches ORDER BY 1") == [
        ("a b", 2, 0.25),
        ('c"', 0, None),
    ]
