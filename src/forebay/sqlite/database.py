"""SQLite files that several processes share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from forebay.backoff import jitter
from forebay.errors import StoreError

#: How long a transaction waits for other processes to let go of the file, in seconds.
LOCK_WAIT_S = 30.0

#: Pause before asking for the write lock again, in seconds, on average. SQLite's own busy handler
#: waits up to 100 ms, many times longer than a commit takes.
_LOCK_RETRY_S = 0.000_5

#: Pause before asking for the write-ahead log again, in seconds.
_LOG_RETRY_S = 0.01


def open_database(path: Path | str, schema: str = "", *, durable: bool = True) -> apsw.Connection:
    """Open or create a file for writing and run `schema`.

    What is committed survives the death of the process, and with `durable` a power cut too.
    Raises StoreError when the file cannot be opened.
    """
    try:
        connection = apsw.Connection(str(path))
    except apsw.Error as error:
        raise _unusable(path, error) from error
    tries_max = round(LOCK_WAIT_S / _LOCK_RETRY_S)

    def wait_for_the_lock(tries: int) -> bool:
        time.sleep((0.5 + jitter(os.urandom)) * _LOCK_RETRY_S)
        return tries < tries_max

    try:
        connection.set_busy_handler(wait_for_the_lock)
        _use_write_ahead_log(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute(schema)
    except apsw.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Keep all that is done inside, or nothing.

    Takes the write lock at once: a transaction that begins by reading and writes later can fail
    half way when another process wrote in between. Raises StoreError for an error of SQLite's.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        # SQLite has undone it already after some errors, a full disk for one; and nothing is left
        # of a connection that was closed.
        if not isinstance(error, apsw.ConnectionClosedError) and connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, apsw.Error):
            raise store_error(connection, error) from error
        raise


def store_error(connection: apsw.Connection, error: apsw.Error) -> StoreError:
    """An error of SQLite's in words that say what to do."""
    if isinstance(error, apsw.ConnectionClosedError):
        return StoreError("The store was closed; open it again.")
    return StoreError(
        f"The store {connection.filename} could not be read or written: {error}. See that its disk"
        " has room and that it can be written."
    )


def _use_write_ahead_log(connection: apsw.Connection) -> None:
    """Switch the file to the write-ahead log, also while other processes do the same.

    SQLite does not call the busy handler when it changes the journal mode: two that wait for each
    other would wait for ever. Raises apsw.BusyError when the file stays locked for LOCK_WAIT_S.
    """
    for _ in range(round(LOCK_WAIT_S / _LOG_RETRY_S)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except apsw.BusyError:
            time.sleep(_LOG_RETRY_S)
        else:
            return
    connection.execute("PRAGMA journal_mode = WAL")


def _unusable(path: Path | str, error: apsw.Error) -> StoreError:
    return StoreError(
        f"The store {path} could not be opened: {error}. Check that its directory exists and can be"
        " written, and that it is an SQLite database."
    )
