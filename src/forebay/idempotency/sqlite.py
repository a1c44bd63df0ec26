"""An idempotency store in an SQLite database, shared by the processes of one machine.

The tables may live in an application's own database. Then an effect in that database and the mark
that it is done can commit together, in one transaction of the application's own connection:

    connection.execute("BEGIN IMMEDIATE")
    if not complete_within(connection, attempt.key, attempt.token, None, clock.wall_ms()):
        ...  # somebody else took over: roll back
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import apsw

from forebay.errors import StoreError
from forebay.idempotency.base import (
    Beginning,
    Done,
    IdempotencyStoreError,
    InProgress,
    Started,
)
from forebay.sqlite import SharedWriter

T = TypeVar("T")

#: The form of the tables. Raise it with every change of them.
_FORMAT = 1

#: `ends_at_ms` is when the lease is over, or when the key was completed.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS idempotency_meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS idempotency_record (
    key TEXT PRIMARY KEY,
    token INTEGER NOT NULL,
    ends_at_ms INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    result BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS idempotency_record_by_end ON idempotency_record (ends_at_ms);
"""


class IdempotencyStoreTooNew(IdempotencyStoreError):
    """The idempotency store is from a newer Forebay. Upgrade, or use another file."""


def create_tables(connection: apsw.Connection) -> None:
    """Make the store's tables where they are missing, inside the caller's transaction if any.

    Raises IdempotencyStoreTooNew when there are tables of a later form.
    """
    connection.execute(_SCHEMA)
    connection.executemany(
        "INSERT OR IGNORE INTO idempotency_meta VALUES (?, ?)",
        [("format", _FORMAT), ("last_token", 0)],
    )
    found = connection.execute("SELECT value FROM idempotency_meta WHERE name = 'format'").get
    if found > _FORMAT:
        raise IdempotencyStoreTooNew


def begin_within(connection: apsw.Connection, key: str, lease_ms: int, now_ms: int) -> Beginning:
    """IdempotencyStore.begin as a part of the caller's transaction."""
    found = connection.execute(
        "SELECT completed, result, ends_at_ms FROM idempotency_record WHERE key = ?", (key,)
    ).fetchone()
    if found is not None:
        completed, result, ends_at_ms = cast("tuple[int, bytes | None, int]", found)
        if completed:
            return Done(result)
        if now_ms < ends_at_ms:
            return InProgress(ends_at_ms)
    token: int = connection.execute(
        "UPDATE idempotency_meta SET value = value + 1 WHERE name = 'last_token' RETURNING value"
    ).get
    connection.execute(
        "INSERT OR REPLACE INTO idempotency_record VALUES (?, ?, ?, 0, NULL)",
        (key, token, now_ms + lease_ms),
    )
    return Started(token)


def complete_within(
    connection: apsw.Connection, key: str, token: int, result: bytes | None, now_ms: int
) -> bool:
    """IdempotencyStore.complete as a part of the caller's transaction.

    False means that the lease was lost: roll back.
    """
    connection.execute(
        "UPDATE idempotency_record SET completed = 1, result = ?, ends_at_ms = ?"
        " WHERE key = ? AND token = ? AND NOT completed",
        (result, now_ms, key, token),
    )
    if connection.changes():
        return True
    done = connection.execute(
        "SELECT 1 FROM idempotency_record WHERE key = ? AND token = ?", (key, token)
    ).fetchone()
    return done is not None


class SqliteIdempotencyStore:
    """An IdempotencyStore in a file.

    Every call is one transaction, shared with all that wait at the same time. Any number of
    processes may open the file.
    """

    def __init__(self, writer: SharedWriter) -> None:
        """Keep the keys where `writer` writes; `create_tables` has made their tables there."""
        self._writer = writer

    @classmethod
    async def open(cls, path: Path | str, *, durable: bool = True) -> SqliteIdempotencyStore:
        """Open or create a file of its own.

        With `durable` a step survives the loss of power once its call has returned; without, the
        last steps may be lost with the power, but none when a process dies. Raises
        IdempotencyStoreError when the file cannot be opened.
        """
        try:
            writer = await SharedWriter.open(path, durable=durable)
            try:
                await writer.run(create_tables)
            except BaseException:
                await writer.close()
                raise
        except IdempotencyStoreError:
            raise
        except StoreError as error:
            raise IdempotencyStoreError(str(error)) from error
        return cls(writer)

    async def begin(self, key: str, lease_ms: int, now_ms: int) -> Beginning:
        return await self._run(lambda connection: begin_within(connection, key, lease_ms, now_ms))

    async def extend(self, key: str, token: int, lease_ms: int, now_ms: int) -> bool:
        return await self._change(
            "UPDATE idempotency_record SET ends_at_ms = max(ends_at_ms, ?)"
            " WHERE key = ? AND token = ? AND NOT completed",
            (now_ms + lease_ms, key, token),
        )

    async def complete(self, key: str, token: int, result: bytes | None, now_ms: int) -> bool:
        return await self._run(
            lambda connection: complete_within(connection, key, token, result, now_ms)
        )

    async def abandon(self, key: str, token: int) -> bool:
        return await self._change(
            "DELETE FROM idempotency_record WHERE key = ? AND token = ? AND NOT completed",
            (key, token),
        )

    async def purge(self, retention_ms: int, now_ms: int, limit: int) -> int:
        def purge(connection: apsw.Connection) -> int:
            connection.execute(
                "DELETE FROM idempotency_record WHERE key IN ("
                " SELECT key FROM idempotency_record WHERE ends_at_ms <= ?"
                " ORDER BY ends_at_ms, key LIMIT ?)",
                (now_ms - retention_ms, limit),
            )
            return connection.changes()

        return await self._run(purge)

    async def close(self) -> None:
        await self._writer.close()

    async def _change(self, statement: str, values: tuple[int | str, ...]) -> bool:
        def change(connection: apsw.Connection) -> bool:
            connection.execute(statement, values)
            return connection.changes() > 0

        return await self._run(change)

    async def _run(self, step: Callable[[apsw.Connection], T]) -> T:
        try:
            return await self._writer.run(step)
        except IdempotencyStoreError:
            raise
        except StoreError as error:
            raise IdempotencyStoreError(str(error)) from error
