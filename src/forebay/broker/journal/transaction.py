"""What the databases of a journal share: whole transactions, and errors that name the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from forebay.errors import DiskError, DiskFull, JournalError

#: What SQLite raises when the disk or its file system fails, and not the program that uses it.
_DISK_ERRORS = (
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.PermissionsError,
    apsw.CorruptError,
    apsw.BusyError,
)


@contextmanager
def journal_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise what goes wrong with a file as JournalError; `doing` says what could not be done.

    It is a DiskFull or another DiskError when it is no fault of the program.
    """
    try:
        yield
    except (apsw.Error, msgspec.DecodeError) as error:
        raise journal_error(path, doing, error) from error


def journal_error(path: Path, doing: str, error: Exception) -> JournalError:
    """What `journal_errors` raises for an error."""
    kind = JournalError
    if isinstance(error, apsw.FullError):
        kind = DiskFull
    elif isinstance(error, _DISK_ERRORS):
        kind = DiskError
    return kind(f"The journal {path} could not be {doing}: {error}.")


@contextmanager
def transaction(database: apsw.Connection) -> Iterator[Callable[..., apsw.Cursor]]:
    """Carry out all that is executed in the block, durable when the block ends, or nothing."""
    execute = database.execute
    execute("BEGIN IMMEDIATE")
    try:
        yield execute
        execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            execute("ROLLBACK")
        raise
