"""Where usage logs are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import apsw
from msgspec import Struct

from forebay.apps.gathering import Gathering
from forebay.apps.sqlite import open_database, transaction
from forebay.apps.usage.domain import UsageLog

#: The store's file in a data directory.
USAGE_FILE = "usage.sqlite3"

#: Most rows in one transaction.
_ROWS_MAX = 500

_SCHEMA = files("forebay.apps.usage").joinpath("schema.sql").read_text()

_INSERT = (
    "INSERT OR IGNORE INTO usage_logs (envelope_id, logged_at, node, api_key_id, asset, source,"
    " response_time_us, cache_tier, http_status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class UsageRecord(Struct, frozen=True):
    """A usage log with what its envelope says."""

    envelope_id: str
    logged_at: str
    node: str
    log: UsageLog


class UsageStore(Protocol):
    """Keeps each record once, however often it is delivered."""

    async def insert(self, record: UsageRecord) -> None:
        """Keep a record unless one with its envelope id is there. Durable when it returns.

        Raises StoreError; the record may be inserted again.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the store."""
        ...


class SqliteUsageStore:
    """A UsageStore in a SQLite file: all records that wait are one insert in one transaction."""

    def __init__(self, connection: apsw.Connection, executor: Executor) -> None:
        self._connection = connection
        self._executor = executor
        self._rows: Gathering[UsageRecord, None] = Gathering(
            self._insert, executor, items_max=_ROWS_MAX
        )

    @classmethod
    async def open(cls, path: Path, executor: Executor) -> SqliteUsageStore:
        """Open or create the file. The executor must have one thread."""
        loop = asyncio.get_running_loop()
        return cls(await loop.run_in_executor(executor, open_database, path, _SCHEMA), executor)

    async def insert(self, record: UsageRecord) -> None:
        await self._rows.submit(record)

    async def close(self) -> None:
        await self._rows.finish()
        await asyncio.get_running_loop().run_in_executor(self._executor, self._connection.close)

    def _insert(self, records: Sequence[UsageRecord]) -> list[None]:
        with transaction(self._connection):
            self._connection.executemany(_INSERT, (_row(record) for record in records))
        return [None] * len(records)


def _row(record: UsageRecord) -> tuple[str | int, ...]:
    log = record.log
    return (
        record.envelope_id,
        record.logged_at,
        record.node,
        log.api_key_id,
        log.asset,
        log.source,
        log.response_time_us,
        log.cache_tier,
        log.http_status,
    )
