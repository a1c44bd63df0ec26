"""The idempotency stores under their contract."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from forebay.idempotency import MemoryIdempotencyStore, SqliteIdempotencyStore
from forebay.idempotency.postgres import PostgresIdempotencyStore
from tests.postgres_server import postgres_server

#: Every store keeps all that there is to keep.
AnyStore = MemoryIdempotencyStore | SqliteIdempotencyStore | PostgresIdempotencyStore

_schemas = count()


@pytest.fixture(scope="session")
def postgres_conninfo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that all processes of this test run share, started when the first one needs it."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    with postgres_server(directory) as conninfo:
        yield conninfo


@pytest.fixture
def postgres(postgres_conninfo: str) -> Iterator[str]:
    """The conninfo of an empty schema of the test's own."""
    schema = f"test_{os.getpid()}_{next(_schemas)}"
    with psycopg.connect(postgres_conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        yield f"{postgres_conninfo} options='-c search_path={schema}'"
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyStore]:
    opened: AnyStore
    if request.param == "memory":
        opened = MemoryIdempotencyStore()
    elif request.param == "sqlite":
        opened = await SqliteIdempotencyStore.open(tmp_path / "keys.db", durable=False)
    else:
        opened = await PostgresIdempotencyStore.open(request.getfixturevalue("postgres"))
    yield opened
    await opened.close()
    await opened.close()
