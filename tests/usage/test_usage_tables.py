"""How the tables come to be: at once by many, from every earlier form, and never backwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import psycopg
import pytest

from forebay.apps.usage.postgres import PostgresUsageStore
from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.apps.usage.store import Totals, UsageStoreTooNew
from forebay.clock import ManualClock
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
    with pytest.raises(UsageStoreTooNew, match="from a newer Forebay"):
        await PostgresUsageStore.open(postgres)
    path = tmp_path / "usage.sqlite3"
    await (await SqliteUsageStore.open(path, durable=False)).close()
    connection_ = apsw.Connection(str(path))
    connection_.execute("INSERT INTO usage_schema (version) VALUES (9999)")
    connection_.close()
    with pytest.raises(UsageStoreTooNew, match="from a newer Forebay"):
        await SqliteUsageStore.open(path, durable=False)
