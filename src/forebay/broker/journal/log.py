"""The commit log: what was committed last, one row for each commit, until it is in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from forebay.broker.core.changes import ChangeSet
from forebay.broker.journal.base import Durability
from forebay.broker.journal.schema import migrations, open_database
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

    def __init__(self, path: Path, durability: Durability, vfs: str | None = None) -> None:
        self.path = path
        self._database = open_database(path, durability, migrations("log"), vfs)

    def read(self, after: int) -> Iterator[tuple[int, ChangeSet, int]]:
        """The commits behind a number, in order: number, changes and size in bytes.

        Raises JournalError.
        """
        with journal_errors(self.path, "read"):
            for number, changes in self._database.execute(_READ, (after,)):
                assert isinstance(number, int)
                assert isinstance(changes, bytes)
                yield number, _decoder.decode(changes), len(changes)

    def append(self, number: int, changes: ChangeSet, forget_through: int | None) -> int:
        """Keep a commit, durable when this returns, and drop those up to another. Answers its size.

        Raises JournalError, and keeps and drops nothing then.
        """
        encoded = _encoder.encode(changes)
        with journal_errors(self.path, "written"):
            if forget_through is None:
                self._database.execute(_INSERT, (number, encoded))
            else:
                with transaction(self._database) as execute:
                    execute(_FORGET, (forget_through,))
                    execute(_INSERT, (number, encoded))
        return len(encoded)

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        with journal_errors(self.path, "closed"):
            self._database.close()
