"""An idempotency store in an SQLite database, shared by the processes of one machine.

The tables may live in an application's own database. Then an effect in that database and the mark
that it is done can commit together, in one transaction of the application's own connection:

    connection.execute("BEGIN IMMEDIATE")
    if not complete_within(connection, attempt.key, attempt.token, None, clock.wall_ms()):
        ...  # somebody else took over: roll back
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import apsw

from forebay.idempotency.base import (
    Beginning,
    Done,
    IdempotencyStoreError,
    InProgress,
    Started,
)

T = TypeVar("T")

#: How long a transaction waits for those of other processes, in milliseconds.
BUSY_TIMEOUT_MS = 5_000

#: Pause before asking for the write-ahead log again, in milliseconds.
_LOCK_RETRY_MS = 10

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


def use_write_ahead_log(connection: apsw.Connection) -> None:
    """Have a file keep its changes in a write-ahead log, which lets processes read and write it.

    Several processes may do this to a new file at once. SQLite then fails all but one at once,
    without asking the busy handler, since two that wait for each other would wait for ever.
    Raises apsw.BusyError when the file stays locked for BUSY_TIMEOUT_MS.
    """
    for _ in range(BUSY_TIMEOUT_MS // _LOCK_RETRY_MS):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except apsw.BusyError:
            time.sleep(_LOCK_RETRY_MS / 1000)
        else:
            return
    connection.execute("PRAGMA journal_mode = WAL")


class SqliteIdempotencyStore:
    """An IdempotencyStore in a file.

    Every call is one transaction in a thread of `executor`, so the event loop goes on. Any number
    of processes may open the file. With `durable` a step survives the loss of power once its call
    has returned; without, the last steps may be lost with the power, but none when a process dies.

    Opening reads and writes the file; do it at start-up. Raises IdempotencyStoreError when the file
    cannot be opened.
    """

    def __init__(self, path: Path | str, *, executor: Executor, durable: bool = True) -> None:
        self._path = path
        self._executor = executor
        #: A connection serves one thread at a time, whatever the executor.
        self._turn = threading.Lock()
        self._connection = self._open(durable)

    async def begin(self, key: str, lease_ms: int, now_ms: int) -> Beginning:
        return await self._transact(
            lambda connection: begin_within(connection, key, lease_ms, now_ms)
        )

    async def extend(self, key: str, token: int, lease_ms: int, now_ms: int) -> bool:
        return await self._change(
            "UPDATE idempotency_record SET ends_at_ms = max(ends_at_ms, ?)"
            " WHERE key = ? AND token = ? AND NOT completed",
            (now_ms + lease_ms, key, token),
        )

    async def complete(self, key: str, token: int, result: bytes | None, now_ms: int) -> bool:
        return await self._transact(
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

        return await self._transact(purge)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, self._close)

    def _close(self) -> None:
        with self._turn:
            self._connection.close()

    async def _change(self, statement: str, values: tuple[int | str, ...]) -> bool:
        def change(connection: apsw.Connection) -> bool:
            connection.execute(statement, values)
            return connection.changes() > 0

        return await self._transact(change)

    async def _transact(self, step: Callable[[apsw.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._in_transaction, step)

    def _in_transaction(self, step: Callable[[apsw.Connection], T]) -> T:
        with self._turn:
            try:
                with _transaction(self._connection):
                    return step(self._connection)
            except apsw.Error as error:
                raise IdempotencyStoreError(
                    f"The idempotency store {self._path} could not be used: {error}."
                ) from error

    def _open(self, durable: bool) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self._path))
        except apsw.Error as error:
            raise self._unusable(error) from error
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            use_write_ahead_log(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            with _transaction(connection):
                create_tables(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, apsw.Error):
                raise self._unusable(error) from error
            raise
        return connection

    def _unusable(self, error: apsw.Error) -> IdempotencyStoreError:
        return IdempotencyStoreError(
            f"The idempotency store {self._path} could not be opened: {error}. Check that its"
            " directory exists and can be written, and that it is an SQLite database."
        )


@contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit the block, or undo it when it raises.

    Taking the write lock at once lets a transaction wait for its turn. One that reads first and
    writes later fails instead when somebody else has written in between.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has undone it already after some errors, a full disk for one.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
