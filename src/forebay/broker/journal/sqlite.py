"""The journal on disk: a commit log that every commit is written to, and tables behind it.

To store the rows of a commit in tables takes SQLite three times as long as to append all of them
to a log as one value, and most messages do not live for long. So an answer waits for the log alone.
A thread stores what many commits did in one transaction; a message that was sent and deleted
meanwhile is never stored at all. docs/decisions/0005-a-commit-log.md has the figures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from forebay.broker.core.changes import ChangeSet, Page, PageRequest, Snapshot
from forebay.broker.journal.base import Durability
from forebay.broker.journal.directory import DataDirectory
from forebay.broker.journal.log import CommitLog
from forebay.broker.journal.pending import PendingChanges
from forebay.broker.journal.tables import Tables
from forebay.errors import JournalError

#: The database with the tables, in the data directory.
TABLES_FILE = "journal.db"

#: The database with the commit log.
LOG_FILE = "log.db"

#: What the log holds before it is stored in tables, in bytes.
FOLD_BYTES = 4_194_304

#: What the log holds before commits wait until it is stored, in bytes.
LOG_BYTES_MAX = 67_108_864

#: An append to the log that takes less than this, in seconds, is quick. The event loop stands still
#: for as long, and a thread that does it instead costs some 0.1 ms of work.
QUICK_COMMIT_S = 0.002

_log = logging.getLogger(__name__)


class _Folding(NamedTuple):
    """Commits that are being stored in the tables."""

    commits: PendingChanges
    changes: ChangeSet
    stored: Future[None]


class SqliteJournal:
    """A Journal in a directory. The directory belongs to this journal until `close`.

    `executor` stores the log in the tables, one call at a time; a thread of the journal's own does
    it when there is none. `vfs` names an SQLite VFS to use in place of the operating system's
    files, for example one with faults. `stopwatch` gives seconds since some start. Raises
    DataDirectoryInUse, JournalTooNew or JournalError when the journal cannot be opened.
    """

    def __init__(
        self,
        directory: Path,
        durability: Durability = Durability.FSYNC,
        *,
        executor: Executor | None = None,
        vfs: str | None = None,
        stopwatch: Callable[[], float] = perf_counter,
    ) -> None:
        self.durability = durability
        self.directory = directory
        self._lock = DataDirectory(directory, (TABLES_FILE, LOG_FILE))
        #: Commits that are in the log and not in the tables, but for those of `_folding`.
        self._pending = PendingChanges()
        with ExitStack() as opened:
            opened.callback(self._lock.release)
            self._tables = Tables(directory / TABLES_FILE, vfs)
            opened.callback(self._tables.close)
            self._log = CommitLog(directory / LOG_FILE, durability, vfs)
            opened.callback(self._log.close)
            self._number = self._tables.folded_through()
            for number, changes, size_bytes in self._log.read(self._number):
                self._pending.add(number, changes, size_bytes)
                self._number = number
            self._close_files = opened.pop_all().close
        self._executor = executor or ThreadPoolExecutor(1, "forebay-tables")
        self._owns_executor = executor is None
        #: What is being stored in the tables.
        self._folding: _Folding | None = None
        #: What has to be pending before it is stored: less after a purge, whose rows can then be
        #: deleted, and more after a failure.
        self._fold_at_bytes = FOLD_BYTES
        #: The log's commits up to this number are in the tables; None when it has none of those.
        self._forget_through: int | None = None
        self._stopwatch = stopwatch
        #: How long an append to the log took lately, in seconds; the latest one counts an eighth.
        self._usual_commit_s = 0.0
        self._sweeping = False
        #: Whether rows that count for nothing may be deleted. Not while a snapshot is being read.
        self._may_sweep = False
        self._closed = False

    @property
    def is_quick(self) -> bool:
        return self._usual_commit_s < QUICK_COMMIT_S and self._log_bytes() < LOG_BYTES_MAX

    def load(self) -> Snapshot:
        self._may_sweep = False
        try:
            self._fold_all()
        except JournalError:
            return self._executor.submit(self._tables.load_with, self._pending.changes()).result()
        return self._executor.submit(self._tables.load).result()

    def commit(self, changes: ChangeSet) -> None:
        if self._log_bytes() >= LOG_BYTES_MAX:
            self._fold_all()
        number = self._number + 1
        begun_s = self._stopwatch()
        size_bytes = self._log.append(number, changes, self._forget_through)
        self._usual_commit_s += (self._stopwatch() - begun_s - self._usual_commit_s) / 8
        self._forget_through = None
        self._number = number
        self._pending.add(number, changes, size_bytes)
        self._may_sweep = True
        if changes.purged or changes.removed_queues:
            self._fold_at_bytes = 0
        if self._pending.size_bytes >= self._fold_at_bytes:
            self._fold()

    def page(self, request: PageRequest) -> Page:
        pending = [self._pending.changes()]
        if self._folding is not None:
            pending.append(self._folding.changes)
        return self._tables.page(request, pending)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._may_sweep = False
        try:
            self._fold_all()
        except JournalError:
            _log.exception("The latest commits stay in the log until the next start")
        finally:
            if self._owns_executor:
                self._executor.shutdown()
            self._close_files()

    def _log_bytes(self) -> int:
        """What the log holds that is not in the tables."""
        folding_bytes = self._folding.commits.size_bytes if self._folding is not None else 0
        return self._pending.size_bytes + folding_bytes

    def _fold(self) -> None:
        """Begin to store what is pending in the tables, unless something is being stored."""
        if self._folding is not None:
            if not self._folding.stored.done():
                return
            self._end_fold()
        commits, self._pending = self._pending, PendingChanges()
        changes = commits.changes()
        stored = self._executor.submit(self._store, changes, commits.through)
        self._folding = _Folding(commits, changes, stored)

    def _end_fold(self) -> BaseException | None:
        """Wait until what is being stored is in the tables. Answers the error that kept it out."""
        if self._folding is None:
            return None
        commits, _, stored = self._folding
        self._folding = None
        error = stored.exception()
        if error is None:
            self._forget_through = commits.through
            self._fold_at_bytes = FOLD_BYTES
        else:
            _log.error("The log could not be stored in the tables yet", exc_info=error)
            commits.add_all(self._pending)
            self._pending = commits
            self._fold_at_bytes = commits.size_bytes + FOLD_BYTES
        return error

    def _fold_all(self) -> None:
        """Have every commit in the tables. Raises JournalError when that is not possible."""
        while self._folding is not None or self._pending:
            if self._folding is None:
                self._fold()
            if (error := self._end_fold()) is not None:
                raise error

    def _store(self, changes: ChangeSet, through: int) -> None:
        self._tables.commit(changes, through)
        if self._tables.sweeping and not self._sweeping:
            self._sweeping = True
            self._executor.submit(self._sweep)

    def _sweep(self) -> None:
        """Delete some rows that count for nothing, let others have their turn, and go on."""
        try:
            if self._may_sweep:
                self._tables.sweep()
        except JournalError:
            _log.exception("Purged messages could not be deleted yet")
            self._may_sweep = False
        self._sweeping = self._tables.sweeping and self._may_sweep
        if self._sweeping:
            self._executor.submit(self._sweep)
