"""The commit log: what was committed last, one row for each commit, until it is in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from forebay.broker.core.changes import ChangeSet
from forebay.broker.journal.base import Durability
from forebay.broker.journal.schema import (
    CHECKPOINT_PAGES,
    PAGE_BYTES,
    cut_write_ahead_log,
    migrations,
    open_database,
)
from forebay.broker.journal.transaction import journal_errors, transaction

_INSERT = "INSERT INTO log VALUES (?, ?)"

_FORGET = "DELETE FROM log WHERE number <= ?"

_READ = "SELECT number, changes FROM log WHERE number > ? ORDER BY number"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ChangeSet)


class CommitLog:
    """A file to which every commit is one short write.

    A commit is one row with all its changes in one value, because SQLite writes one long value for
    a third of what the rows of a commit cost it. Raises JournalTooNew or JournalError when the file
    cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        durability: Durability,
        vfs: str | None = None,
        wal_pages: int = CHECKPOINT_PAGES,
    ) -> None:
        self.path = path
        self._database = open_database(path, durability, migrations("log"), vfs, wal_pages)

    def read(self, after: int) -> Iterator[tuple[int, ChangeSet, int]]:
        """The commits behind a number, in order: number, changes and size in bytes.

        Raises JournalError.
        """
        with journal_errors(self.path, "read"):
            for number, changes in self._database.execute(_READ, (after,)):
                assert isinstance(number, int)
                assert isinstance(changes, bytes)
                yield number, _decoder.decode(changes), len(changes)

    def encode(self, changes: ChangeSet) -> bytes:
        """The changes of a commit as the log keeps them."""
        return _encoder.encode(changes)

    def append(self, number: int, encoded: bytes, forget_through: int | None) -> None:
        """Keep a commit, durable when this returns, and drop those up to another.

        Raises JournalError, and keeps and drops nothing then.
        """
        with journal_errors(self.path, "written"):
            if forget_through is None:
                self._database.execute(_INSERT, (number, encoded))
            else:
                with transaction(self._database) as execute:
                    execute(_FORGET, (forget_through,))
                    execute(_INSERT, (number, encoded))

    def cut(self, through: int, size_bytes: int) -> None:
        """Drop the commits up to a number, and give back space beyond a size. Raises JournalError.

        What is dropped leaves space behind that later commits take; a log that was long once keeps
        more of it than it needs.
        """
        with journal_errors(self.path, "written"):
            if PAGE_BYTES * self._database.pragma("page_count") > size_bytes:
                self._database.execute(_FORGET, (through,))
                self._database.execute("VACUUM")
            cut_write_ahead_log(self._database, self.path)

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        with journal_errors(self.path, "closed"):
            self._database.close()
