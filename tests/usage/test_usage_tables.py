"""How the tables come to be: at once by many, from every earlier form, and never backwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import psycopg
import pytest

from forebay.apps.usage.postgres import PostgresUsageStore
from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.apps.usage.store import NoUsageTables, Totals, UsageStoreTooNew
from forebay.clock import ManualClock
from forebay.errors import StoreError
from forebay.sql.numbered import numbered_sql
from tests.usage.conftest import postgres_sql, sqlite_sql
from tests.usage.events import LOG, NOON_MS, pack

#: Everything but the rows: name, type and whether it may be empty, of every column of every table.
_POSTGRES_FORM = (
    "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
    " WHERE table_schema = current_schema() AND table_name <> 'usage_schema' ORDER BY 1, 2"
)
_SQLITE_FORM = "SELECT sql FROM sqlite_schema WHERE name <> 'usage_schema' ORDER BY 1"


def numbers(package: str) -> list[int]:
    return [number for number, _ in numbered_sql(package)]


async def test_many_processes_make_the_tables_in_postgresql_at_once(postgres: str) -> None:
    conninfo = postgres[:-1] + " -c default_transaction_isolation=serializable'"
    stores = await asyncio.gather(*(PostgresUsageStore.open(conninfo) for _ in range(6)))
    for store in stores:
        await store.close()
    applied = postgres_sql(postgres)("SELECT version FROM usage_schema ORDER BY 1")
    assert applied == [(number,) for number in numbers("forebay.apps.usage.postgres")]


@pytest.mark.parametrize("seen", [0, *numbers("forebay.apps.usage.postgres")])
async def test_postgresql_is_brought_from_every_earlier_form_to_todays(
    postgres: str, seen: int
) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute(
            "CREATE TABLE usage_schema"
            " (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for number, text in numbered_sql("forebay.apps.usage.postgres"):
            if number <= seen:
                connection.execute(text.encode())
                connection.execute("INSERT INTO usage_schema (version) VALUES (%s)", (number,))
    new = postgres.replace("search_path=", "search_path=new_")
    name = new.partition("search_path=")[2].strip("'")
    with psycopg.connect(postgres) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    try:
        for each in (postgres, new):
            store = await PostgresUsageStore.open(each, clock=ManualClock(NOON_MS))
            await store.write([pack("p1", LOG)])
            assert await store.totals() == Totals(1, 1, 0, 1)
            await store.close()
        form = postgres_sql(postgres)(_POSTGRES_FORM)
        assert ("usage_logs", "response_time_us", "bigint", "NO") in form
        assert form == postgres_sql(new)(_POSTGRES_FORM)
    finally:
        with psycopg.connect(postgres) as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.mark.parametrize("seen", [0, *numbers("forebay.apps.usage.sqlite")])
async def test_a_file_is_brought_from_every_earlier_form_to_todays(
    tmp_path: Path, seen: int
) -> None:
    path, new = tmp_path / "usage.sqlite3", tmp_path / "new.sqlite3"
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE usage_schema"
        " (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT"
    )
    for number, text in numbered_sql("forebay.apps.usage.sqlite"):
        if number <= seen:
            connection.execute(text)
            connection.execute("INSERT INTO usage_schema (version) VALUES (?)", (number,))
    connection.close()
    for each in (path, new):
        store = await SqliteUsageStore.open(each, clock=ManualClock(NOON_MS), durable=False)
        await store.write([pack("p1", LOG)])
        assert await store.totals() == Totals(1, 1, 0, 1)
        await store.close()
    assert sqlite_sql(path)(_SQLITE_FORM) == sqlite_sql(new)(_SQLITE_FORM)


async def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    stores = await asyncio.gather(*(SqliteUsageStore.open(path, durable=False) for _ in range(4)))
    for store in stores:
        await store.close()
    applied = sqlite_sql(path)("SELECT version FROM usage_schema ORDER BY 1")
    assert applied == [(number,) for number in numbers("forebay.apps.usage.sqlite")]


async def test_tables_of_a_later_form_are_left_alone(postgres: str, tmp_path: Path) -> None:
    await (await PostgresUsageStore.open(postgres)).close()
    with psycopg.connect(postgres) as connection:
        connection.execute("INSERT INTO usage_schema (version) VALUES (9999)")
    for make_tables in (True, False):
        with pytest.raises(UsageStoreTooNew, match="from a newer Forebay"):
            await PostgresUsageStore.open(postgres, make_tables=make_tables)
    path = tmp_path / "usage.sqlite3"
    await (await SqliteUsageStore.open(path, durable=False)).close()
    connection_ = apsw.Connection(str(path))
    connection_.execute("INSERT INTO usage_schema (version) VALUES (9999)")
    connection_.close()
    for make_tables in (True, False):
        with pytest.raises(UsageStoreTooNew, match="from a newer Forebay"):
            await SqliteUsageStore.open(path, durable=False, make_tables=make_tables)


async def test_who_only_looks_makes_no_tables_in_postgresql(postgres: str) -> None:
    """Not in a database of another name, and not in one that he may only read."""
    with pytest.raises(NoUsageTables, match="There are no usage tables there"):
        await PostgresUsageStore.open(postgres, make_tables=False)
    assert postgres_sql(postgres)(_POSTGRES_FORM) == []
    await (await PostgresUsageStore.open(postgres)).close()
    reader = postgres[:-1] + " -c default_transaction_read_only=on'"
    store = await PostgresUsageStore.open(reader, make_tables=False)
    assert await store.totals() == Totals(0, 0, 0, 0)
    await store.close()
    with psycopg.connect(postgres) as connection:
        connection.execute("DELETE FROM usage_schema")
    with pytest.raises(NoUsageTables):
        await PostgresUsageStore.open(postgres, make_tables=False)


async def test_who_only_looks_makes_no_tables_in_a_file(tmp_path: Path) -> None:
    missing, others, usage = (tmp_path / name for name in ("missing", "others", "usage"))
    apsw.Connection(str(others)).execute("CREATE TABLE orders (number INTEGER)")
    text = tmp_path / "text"
    text.write_text("no database, but long enough to be taken for one" * 100)
    for path in (missing, others, text):
        with pytest.raises(NoUsageTables, match="There are no usage tables there"):
            await SqliteUsageStore.open(path, make_tables=False)
    with pytest.raises(StoreError, match="cannot be read"):
        await SqliteUsageStore.open(tmp_path, make_tables=False)
    assert not missing.exists()
    assert sqlite_sql(others)("SELECT name FROM sqlite_schema") == [("orders",)]
    await (await SqliteUsageStore.open(usage, durable=False)).close()
    store = await SqliteUsageStore.open(usage, make_tables=False)
    assert await store.totals() == Totals(0, 0, 0, 0)
    await store.close()
