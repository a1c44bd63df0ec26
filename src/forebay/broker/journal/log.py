"""The commit log: what was committed last, one row for each commit, until it is in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import msgspec

from forebay.broker.core.changes import ChangeSet
from forebay.broker.journal.base import Durability
from forebay.broker.journal.schema import (
    CHECKPOINT_PAGES,
    PAGE_BYTES,
    cut_write_ahead_log,
    migrations,
    open_beside,
    open_database,
)
from forebay.broker.journal.transaction import journal_errors, transaction
from forebay.errors import JournalError

_INSERT = "INSERT INTO log VALUES (?, ?)"

_FORGET = "DELETE FROM log WHERE number <= ?"

_READ = "SELECT number, changes FROM log WHERE number > ? ORDER BY number"

#: Pages in the write-ahead log after which it is begun anew, where a thread copies it beside the
#: commits: 8 MiB. The commit that does so waits for two syncs, so it should be a rare one; and a
#: log that is written again needs no new blocks of the disk, so it should not be long in coming.
_WAL_PAGES = 512

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
        #: Copies the write-ahead log beside the commits. A log that is short needs no help.
        self._copier: apsw.Connection | None = None
        #: Whether it is time for a new write-ahead log, and only the latest commits are not copied.
        self._is_nearly_copied = False
        if wal_pages >= CHECKPOINT_PAGES:
            self._database.pragma("wal_autocheckpoint", 2 * _WAL_PAGES)
            self._database.pragma("journal_size_limit", 2 * _WAL_PAGES * PAGE_BYTES)
            try:
                self._copier = open_beside(path, durability, vfs)
            except JournalError:
                with suppress(apsw.Error):
                    self._database.close()
                raise

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
        if self._is_nearly_copied:
            self._is_nearly_copied = False
            # The commit is durable, whether the rest can be copied now or later.
            with suppress(apsw.Error):
                self._database.wal_checkpoint()

    def copy(self) -> None:
        """Copy the write-ahead log into the file. Call it from another thread, while commits go on.

        A commit that finds it long has to copy all of it, and those behind that commit wait for
        megabytes to be written and synced. After this it finds what was written meanwhile.
        """
        if self._copier is not None:
            # What cannot be copied now stays where it is, and is as durable there.
            with suppress(apsw.Error):
                pages, copied = self._copier.wal_checkpoint()
                self._is_nearly_copied = pages >= _WAL_PAGES and pages - copied < CHECKPOINT_PAGES

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
            if self._copier is not None:
                self._copier.close()
            self._database.close()
