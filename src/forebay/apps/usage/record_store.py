"""Where the sale keeps its usage logs, one message each."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Protocol

import apsw
from msgspec import Struct

from forebay.apps.usage.domain import UsageLog
from forebay.sqlite import SharedWriter

#: The store's file in a data directory.
USAGE_FILE = "usage.sqlite3"

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
    """A UsageStore in a SQLite file: all records that wait share a transaction."""

    def __init__(self, writer: SharedWriter) -> None:
        self._writer = writer

    @classmethod
    async def open(cls, path: Path) -> SqliteUsageStore:
        """Open or create the file. Raises StoreError."""
        return cls(await SharedWriter.open(path, _SCHEMA))

    async def insert(self, record: UsageRecord) -> None:
        await self._writer.run(lambda connection: _insert(connection, record))

    async def close(self) -> None:
        await self._writer.close()


def _insert(connection: apsw.Connection, record: UsageRecord) -> None:
    connection.execute(_INSERT, _row(record))


def _row(record: UsageRecord) -> tuple[str | int | None, ...]:
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
