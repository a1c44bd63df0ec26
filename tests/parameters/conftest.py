"""Stores of parameters, each empty, and what SQL can do to their tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import psycopg
import pytest

from forebay.parameters import MemoryParameterStore, ParameterStore, StoredValue, open_store
from forebay.tunables import SCHEMA


def as_url(conninfo: str) -> str:
    """The URL of what the tests' server is known by."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    rest = "&".join(
        f"{name}={str(value).replace(' ', '%20').replace('=', '%3D').replace('/', '%2F')}"
        for name, value in parts.items()
    )
    return f"postgresql:///?{rest}"


class Place:
    """A store, and another way to its table."""

    def __init__(self, store: ParameterStore, url: str) -> None:
        self.store = store
        self.url = url

    async def write(self, name: str, value: str) -> None:
        """Put a value into the table, past the store's checks."""
        if isinstance(self.store, MemoryParameterStore):
            self.store.rows[name] = StoredValue(value, "2026-05-02T15:30:00.000Z", "SQL")
            return
        await self.execute(
            "INSERT INTO application_parameters (name, value)"
            f" VALUES ('{name}', '{value}')"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )

    async def execute(self, statement: str) -> None:
        await asyncio.to_thread(self._execute, statement)

    def _execute(self, statement: str) -> None:
        if self.url.startswith("sqlite"):
            with apsw.Connection(self.url.removeprefix("sqlite:///")) as connection:
                connection.execute(statement)
                return
        with psycopg.connect(self.url, autocommit=True) as server:
            server.execute(statement.encode())


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "memory":
        made = Place(MemoryParameterStore(SCHEMA), "")
    elif request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/parameters.db"
        made = Place(open_store(url, SCHEMA), url)
    else:
        url = as_url(request.getfixturevalue("postgres"))
        made = Place(open_store(url, SCHEMA), url)
    yield made
    await made.store.close()
    await made.store.close()
