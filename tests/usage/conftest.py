"""The usage stores under their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import psycopg
import pytest

from forebay.apps.usage.postgres import PostgresUsageStore
from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.apps.usage.store import UsageStore
from forebay.clock import ManualClock
from tests.usage.events import NOON_MS

#: Runs a query on another connection, as somebody who looks at the tables does.
Sql = Callable[[str], list[tuple[Any, ...]]]


class Opened(NamedTuple):
    """A store under test, and what is asked of its tables."""

    store: UsageStore
    sql: Sql


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON_MS)


@pytest.fixture(params=["sqlite", "postgres"])
async def opened(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Opened]:
    opened: Opened
    if request.param == "sqlite":
        path = tmp_path / "usage.sqlite3"
        opened = Opened(
            await SqliteUsageStore.open(path, clock=clock, durable=False), sqlite_sql(path)
        )
    else:
        conninfo = request.getfixturevalue("postgres")
        opened = Opened(
            await PostgresUsageStore.open(conninfo, clock=clock), postgres_sql(conninfo)
        )
    yield opened
    await opened.store.close()
    await opened.store.close()


@pytest.fixture
def store(opened: Opened) -> UsageStore:
    return opened.store


@pytest.fixture
def sql(opened: Opened) -> Sql:
    return opened.sql


def sqlite_sql(path: Path) -> Sql:
    def sql(query: str) -> list[tuple[Any, ...]]:
        with closing(apsw.Connection(str(path))) as other_process:
            return other_process.execute(query).fetchall()

    return sql


def postgres_sql(conninfo: str) -> Sql:
    def sql(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(conninfo) as other_process:
            return other_process.execute(query.encode()).fetchall()

    return sql
