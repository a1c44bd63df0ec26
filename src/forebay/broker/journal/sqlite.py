"""The journal on disk: a commit log that every commit is written to, and tables behind it.

To store the rows of a commit in tables takes SQLite three times as long as to append all of them
to a log as one value, and most messages do not live for long. So an answer waits for the log alone.
A thread stores what many commits did in one transaction; a message that was sent and deleted
meanwhile is never stored at all. docs/decisions/0005-a-commit-log.md has the figures.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from forebay.broker.core.changes import ChangeSet, Page, PageRequest, Snapshot
from forebay.broker.journal.base import Durability, Room
from forebay.broker.journal.directory import DataDirectory
from forebay.broker.journal.log import CommitLog
from forebay.broker.journal.pending import PendingChanges
from forebay.broker.journal.reserve import DiskReserve
from forebay.broker.journal.schema import CHECKPOINT_PAGES, PAGE_BYTES
from forebay.broker.journal.tables import Tables
from forebay.broker.journal.trouble import Trouble
from forebay.errors import DiskError, DiskFull, JournalError

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

#: The log and each write-ahead log hold no more than one in so many parts of a small reserve, but
#: no less than so many bytes.
_RESERVE_PARTS = 16
_SMALL_BYTES = 262_144

#: What the log holds before commits wait, where the reserve is small: so many times what is stored
#: in the tables at once.
_FOLDS_MAX = 4

#: What a byte of the log takes of the disk when it is stored in the tables: there, and in their
#: write-ahead log.
_STORED_BYTES_PER_BYTE = 2


#: What a message is refused with while there is no room for it.
_SHORTAGE = (
    "The disk of the broker is almost full, so it takes no messages now. Receive and delete some,"
    " or free space on the disk, and send this again."
)


class _NoRoom(DiskFull):
    """There is no room for these messages. Free space on the disk, or receive and delete some."""


class _Folding(NamedTuple):
    """Commits that are being stored in the tables."""

    commits: PendingChanges
    changes: ChangeSet
    stored: Future[None]


class SqliteJournal:
    """A Journal in a directory. The directory belongs to this journal until `close`.

    `executor` stores the log in the tables, one call at a time; a thread of the journal's own does
    it when there is none. `vfs` names an SQLite VFS to use in place of the operating system's
    files, for example one with faults. `reserve` keeps room on the disk for commits that take and
    delete messages, and `stopwatch` gives seconds since some start. Raises DataDirectoryInUse,
    JournalTooNew or JournalError when the journal cannot be opened.
    """

    def __init__(
        self,
        directory: Path,
        durability: Durability = Durability.FSYNC,
        *,
        executor: Executor | None = None,
        vfs: str | None = None,
        stopwatch: Callable[[], float] = perf_counter,
        reserve: Callable[[Path], DiskReserve] = DiskReserve,
    ) -> None:
        self.durability = durability
        self._directory_lock = DataDirectory(directory, (TABLES_FILE, LOG_FILE))
        self.directory = directory
        #: Commits that are in the log and not in the tables, but for those of `_folding`.
        self._pending = PendingChanges()
        with ExitStack() as opened:
            opened.callback(self._directory_lock.release)
            self.reserve = reserve(directory)
            #: What the log holds before it is stored in the tables.
            self._fold_bytes = min(
                FOLD_BYTES, max(self.reserve.size_bytes // _RESERVE_PARTS, _SMALL_BYTES)
            )
            self._log_bytes_max = LOG_BYTES_MAX
            if self._fold_bytes < FOLD_BYTES:
                self._log_bytes_max = _FOLDS_MAX * self._fold_bytes
            try:
                self._open_files(vfs, opened)
            except DiskError:
                if not self.reserve.give_up():
                    raise
                self._open_files(vfs, opened)
            self._close_files = opened.pop_all().close
        self._executor = executor or ThreadPoolExecutor(1, "forebay-tables")
        self._owns_executor = executor is None
        #: What is being stored in the tables.
        self._folding: _Folding | None = None
        #: What has to be pending before it is stored: less after a purge, whose rows can then be
        #: deleted, and more after a failure.
        self._fold_at_bytes = self._fold_bytes
        #: The log's commits up to this number are in the tables; None when it has none of those.
        self._forget_through: int | None = None
        self._stopwatch = stopwatch
        #: How long an append to the log took lately, in seconds; the latest one counts an eighth.
        self._usual_commit_s = 0.0
        self._sweeping = False
        #: Whether the files may be cleaned up by themselves. Not while a snapshot is being read.
        self._may_clean = False
        #: The latest commit when the files were cut to what they need.
        self._cut_at = -1
        self._closed = False
        #: Held by the call that is under way: `look` may come at any time.
        self._turn = threading.Lock()
        self._writing = Trouble(
            f"The journal {directory} cannot be written, so every change is refused.",
            f"The journal {directory} can be written again.",
        )
        self._storing = Trouble(
            f"The commit log of {directory} cannot be stored in its tables, so it grows.",
            f"The commit log of {directory} is stored in its tables again.",
        )
        self._reading = Trouble(
            f"The journal {directory} cannot be read.",
            f"The journal {directory} can be read again.",
        )
        #: Of the thread that stores the log, as all of `_sweep`.
        self._sweeping_trouble = Trouble(
            f"Purged messages cannot be deleted from {directory} yet.",
            f"Purged messages are deleted from {directory} again.",
        )
        self._look()

    def _open_files(self, vfs: str | None, opened: ExitStack) -> None:
        wal_pages = min(CHECKPOINT_PAGES, max(self._fold_bytes // PAGE_BYTES, 1))
        with ExitStack() as files:
            self._tables = Tables(self.directory / TABLES_FILE, vfs, wal_pages)
            files.callback(self._tables.close)
            self._log = CommitLog(self.directory / LOG_FILE, self.durability, vfs, wal_pages)
            files.callback(self._log.close)
            self._number = self._tables.folded_through()
            for number, changes, size_bytes in self._log.read(self._number):
                self._pending.add(number, changes, size_bytes)
                self._number = number
            opened.push(files.pop_all())

    @property
    def shortage(self) -> str | None:
        return _SHORTAGE if self.reserve.scarce else None

    @property
    def room(self) -> Room:
        return Room(self.reserve.room_bytes, self.reserve.size_bytes)

    @property
    def memory_bytes(self) -> int:
        # What is pending is bounded by itself.
        return 0

    def look(self) -> None:
        with self._turn:
            if not self._closed:
                self._look()

    @property
    def is_quick(self) -> bool:
        return (
            self._usual_commit_s < QUICK_COMMIT_S
            and self._log_bytes() < self._log_bytes_max
            and not self.reserve.is_tight
        )

    def load(self) -> Snapshot:
        with self._turn, _told(self._reading):
            return self._load()

    def commit(self, changes: ChangeSet) -> None:
        with self._turn:
            try:
                self._commit(changes)
            except _NoRoom:
                # The reserve tells of it.
                raise
            except DiskError as error:
                self._writing.met(error)
                raise
            if self._writing.lasts:
                self._writing.over()

    def page(self, request: PageRequest) -> Page:
        with self._turn, _told(self._reading):
            pending = [self._pending.changes()]
            if self._folding is not None:
                pending.append(self._folding.changes)
            return self._tables.page(request, pending)

    def close(self) -> None:
        with self._turn:
            if not self._closed:
                self._closed = True
                self._close()

    def _load(self) -> Snapshot:
        self._may_clean = False
        try:
            self._fold_all()
        except JournalError:
            return self._executor.submit(self._tables.load_with, self._pending.changes()).result()
        if self.reserve.is_tight:
            self._cut_files()
            self._look()
        return self._executor.submit(self._tables.load).result()

    def _commit(self, changes: ChangeSet) -> None:
        grows = len(changes.messages) > len(changes.removed_messages)
        if self._log_bytes() >= self._log_bytes_max:
            try:
                self._fold_all()
            except DiskError:
                # What removes messages goes on as long as the log takes it.
                if grows:
                    raise
        number = self._number + 1
        encoded = self._log.encode(changes)
        if grows:
            self._make_sure_of_room(len(encoded))
        begun_s = self._stopwatch()
        try:
            self._log.append(number, encoded, self._forget_through)
        except DiskFull as error:
            if grows:
                self.reserve.refuse()
                raise _NoRoom from error
            if not self.reserve.give_up():
                raise
            self._log.append(number, encoded, self._forget_through)
        self._usual_commit_s += (self._stopwatch() - begun_s - self._usual_commit_s) / 8
        self._forget_through = None
        self._number = number
        self._pending.add(number, changes, len(encoded))
        self._may_clean = True
        if changes.purged or changes.removed_queues:
            self._fold_at_bytes = 0
        if self._pending.size_bytes >= self._fold_at_bytes:
            self._fold()
        if self.reserve.spend(len(encoded)):
            self._look()

    def _make_sure_of_room(self, size_bytes: int) -> None:
        """Raise DiskFull when to commit so much would take too much of the reserve."""
        if self.reserve.admits(size_bytes):
            return
        self._look()
        if not self.reserve.admits(size_bytes):
            self.reserve.refuse()
            raise _NoRoom

    def _close(self) -> None:
        self._may_clean = False
        try:
            # The commits that cannot be stored now stay in the log until the next start.
            with suppress(JournalError):
                self._fold_all()
        finally:
            if self._owns_executor:
                self._executor.shutdown()
            self._close_files()
            self.reserve.leave()

    def _look(self) -> None:
        """See how much room the disk has; when it is little, take less."""
        owed_bytes = _STORED_BYTES_PER_BYTE * self._log_bytes()
        self.reserve.look(self._tables.unused_bytes - owed_bytes)
        if not (self.reserve.is_tight and self._may_clean):
            return
        self._start_sweep()
        if self._folding is not None or self._pending:
            self._fold()
        elif self._cut_at != self._number:
            self._cut_files()

    def _cut_files(self) -> None:
        """Give back what the files do not need while everything is in the tables."""
        try:
            self._log.cut(self._number, 2 * self._fold_bytes)
            self._executor.submit(self._tables.cut).result()
        except DiskError:
            return
        self._forget_through = None
        self._cut_at = self._number

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
        if not self._pending:
            return
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
            self._fold_at_bytes = self._fold_bytes
            self._storing.over()
        else:
            if not self._writing.lasts:
                self._storing.met(error)
            commits.add_all(self._pending)
            self._pending = commits
            self._fold_at_bytes = commits.size_bytes + self._fold_bytes
        return error

    def _fold_all(self) -> None:
        """Have every commit in the tables. Raises JournalError when that is not possible."""
        while self._folding is not None or self._pending:
            if self._folding is None:
                self._fold()
            if (error := self._end_fold()) is not None:
                raise error

    def _store(self, changes: ChangeSet, through: int) -> None:
        try:
            self._tables.commit(changes, through)
        except DiskFull:
            if not self.reserve.give_up():
                raise
            self._tables.commit(changes, through)
        self._log.copy()
        self._start_sweep()

    def _start_sweep(self) -> None:
        if self._tables.sweeping and not self._sweeping:
            self._sweeping = True
            self._executor.submit(self._sweep)

    def _sweep_tables(self) -> None:
        try:
            self._tables.sweep()
        except DiskFull:
            if not self.reserve.give_up():
                raise
            self._tables.sweep()

    def _sweep(self) -> None:
        """Delete some rows that count for nothing, let others have their turn, and go on."""
        swept = False
        try:
            if self._may_clean:
                self._sweep_tables()
                swept = True
            self._sweeping_trouble.over()
        except JournalError as error:
            self._sweeping_trouble.met(error)
        self._sweeping = self._tables.sweeping and swept
        if self._sweeping:
            self._executor.submit(self._sweep)


@contextmanager
def _told(trouble: Trouble) -> Iterator[None]:
    """Have a trouble told of while what is done in the block fails for it."""
    try:
        yield
    except DiskError as error:
        trouble.met(error)
        raise
    trouble.over()
