"""SQLite files that several processes share."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from forebay.apps.errors import StoreError
from forebay.idempotency.sqlite import use_write_ahead_log

#: How long a transaction waits for other processes to let go of the file, in seconds.
_LOCK_WAIT_S = 30.0

#: Pause before asking for the write lock again, in seconds, on average. SQLite's own busy handler
#: waits up to 100 ms, many times longer than a commit takes.
_LOCK_RETRY_S = 0.000_5


def open_database(path: Path, schema: str) -> apsw.Connection:
    """Open or create a file for writing. What is committed to it survives a power cut."""
    connection = apsw.Connection(str(path))
    tries_max = round(_LOCK_WAIT_S / _LOCK_RETRY_S)

    def wait_for_the_lock(tries: int) -> bool:
        time.sleep(random.uniform(0.5, 1.5) * _LOCK_RETRY_S)
        return tries < tries_max

    connection.set_busy_handler(wait_for_the_lock)
    use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(schema)
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Keep all that is done inside, durably, or nothing.

    Takes the write lock at once: a transaction that begins by reading and writes later can fail
    half way when another process wrote in between. Raises StoreError for an error of SQLite's.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        # SQLite has undone it already after some errors, a full disk for one.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, apsw.Error):
            raise store_error(connection, error) from error
        raise


def store_error(connection: apsw.Connection, error: apsw.Error) -> StoreError:
    """An error of SQLite's in words that say what to do."""
    return StoreError(
        f"The store {connection.filename} could not be read or written: {error}. See that its disk"
        " has room and that it can be written."
    )
