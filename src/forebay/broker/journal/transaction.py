"""What the databases of a journal share: whole transactions, and errors that name the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from forebay.errors import JournalError


@contextmanager
def journal_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise what goes wrong with a file as JournalError; `doing` says what could not be done."""
    try:
        yield
    except (apsw.Error, msgspec.DecodeError) as error:
        raise JournalError(f"The journal {path} could not be {doing}: {error}.") from error


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
