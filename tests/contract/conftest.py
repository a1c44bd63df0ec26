"""The idempotency stores under their contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.idempotency import MemoryIdempotencyStore, SqliteIdempotencyStore
from forebay.idempotency.postgres import PostgresIdempotencyStore

#: Every store keeps all that there is to keep.
AnyStore = MemoryIdempotencyStore | SqliteIdempotencyStore | PostgresIdempotencyStore


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
