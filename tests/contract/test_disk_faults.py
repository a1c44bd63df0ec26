"""What a journal keeps when its disk fails, at every operation where it can.

A series of commits runs with a fault at the n-th read, write or sync, for every n until the series
gets through without meeting it. A MemoryJournal that is given the commits that succeeded says what
has to be there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TypeAlias

import apsw
import pytest

from forebay.broker.commit import InlineExecutor
from forebay.broker.core.changes import ChangeSet, MessageRow, Page, Snapshot, Tally
from forebay.broker.journal.base import Durability, Journal
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.journal.reserve import DiskReserve
from forebay.broker.journal.sqlite import SqliteJournal
from forebay.errors import JournalError
from tests.contract.faulty_disk import Fault, FaultyDisk, Operation
from tests.contract.test_journals import (
    JOBS,
    TASK,
    changes,
    deduplication,
    delivery,
    message,
    page_of,
    whole,
)

#: All that a journal can be asked for.
State: TypeAlias = tuple[Snapshot, list[Page]]

#: Commits after which the write-ahead logs are copied into their databases.
_CHECKPOINT_COMMITS = 3

#: What the commit log holds before it is stored in the tables, in bytes. A few commits of a series.
_FOLD_BYTES = 50_000


class _Journal(SqliteJournal):
    """A journal that stores its log often, and whose checkpoints are made here.

    Here their errors can be passed over. SQLite passes over them itself, but an error that is
    raised in Python, as those of FaultyDisk are, is raised again when the statement ends, which
    would make a failure of the commit.
    """

    def __init__(self, directory: Path, durability: Durability, vfs: str) -> None:
        super().__init__(
            directory, durability, executor=InlineExecutor(), vfs=vfs, reserve=small_reserve
        )
        self._fold_at_bytes = _FOLD_BYTES
        self._databases = [self._log._database, self._tables._database]
        for database in self._databases:
            database.pragma("wal_autocheckpoint", 0)
        self._commits = 0

    def commit(self, changes: ChangeSet) -> None:
        super().commit(changes)
        self._commits += 1
        if self._commits % _CHECKPOINT_COMMITS == 0:
            for database in self._databases:
                with suppress(apsw.Error):
                    database.wal_checkpoint()

    def close(self) -> None:
        # The last checkpoint may fail as well; what it could not do, the next start does.
        with suppress(JournalError):
            super().close()


def small_reserve(directory: Path) -> DiskReserve:
    """A reserve that is given up when the disk is full, and costs little to copy."""
    return DiskReserve(directory, 65_536)


def open_journal(
    directory: Path, disk: FaultyDisk, durability: Durability = Durability.FSYNC
) -> Journal:
    """The journal that these tests are about, on a faulty disk."""
    return _Journal(directory, durability, disk.name)


def state_of(journal: Journal) -> State:
    return whole(journal.load()), [journal.page(page_of(queue)) for queue in (1, 2)]


def state_in(directory: Path) -> State:
    """What a broker finds that starts with these files."""
    journal = SqliteJournal(directory, Durability.OS, reserve=small_reserve)
    try:
        return state_of(journal)
    finally:
        journal.close()


def big(sequence: int, queue: int = 1) -> MessageRow:
    """A message that takes pages of its own."""
    return message(sequence, queue, body=str(sequence) * 20_000)


#: Commits that use every table.
SERIES = [
    changes(queues={1: JOBS}, tallies={1: Tally(0, 0)}),
    changes(messages=[big(1), message(2), message(3, 2)], tallies={1: Tally(2, 1)}),
    changes(deliveries={1: delivery(1)}, tallies={1: Tally(1, 1)}, clock_ms=1001),
    changes(messages=[big(4), big(5, 2)], deduplications=[deduplication(4)]),
    changes(removed_messages=[1], move_tasks={1: TASK}),
    changes(messages=[message(6)], purged={2: 3}, next_sequence=101),
    changes(deliveries={4: delivery(4), 6: delivery(6)}, move_tasks={1: None}),
    changes(removed_messages=[4], messages=[big(7)], forgotten_deduplications=4),
]


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


class Run:
    """The series on a new journal, which meets a fault."""

    def __init__(
        self,
        directory: Path,
        disk: FaultyDisk,
        fault: Fault,
        durability: Durability = Durability.FSYNC,
    ) -> None:
        self.directory = directory
        self.journal = open_journal(directory, disk, durability)
        #: Holds what has to be there.
        self.model = MemoryJournal()
        #: The states that the journal has been in, one for each commit.
        self.states = [state_of(self.model)]
        self._left = list(SERIES)
        self._disk = disk
        self._disk.fault = self.fault = fault

    def go_on(self) -> ChangeSet | None:
        """Commit what is left. Answers the changes whose commit raised."""
        while self._left:
            try:
                self.journal.commit(self._left[0])
            except JournalError:
                return self._left[0]
            self.model.commit(self._left.pop(0))
            self.states.append(state_of(self.model))
        return None

    def state_with(self, changes: ChangeSet | None) -> State:
        """What would be there if these changes were there as well."""
        model = MemoryJournal()
        for change_set in SERIES[: len(SERIES) - len(self._left)]:
            model.commit(change_set)
        if changes is not None:
            model.commit(changes)
        return state_of(model)

    def after_a_crash(self) -> State:
        """What would be found if the process were killed now."""
        image = self.directory.with_suffix(".crash")
        shutil.rmtree(image, ignore_errors=True)
        return state_in(shutil.copytree(self.directory, image))

    def end(self) -> State:
        """Close the journal, on a disk that works, and look at what is there."""
        self._disk.fault = None
        self.journal.close()
        self._disk.dead = False
        return state_in(self.directory)


def runs(
    directory: Path,
    disk: FaultyDisk,
    fault: Fault,
    durability: Durability = Durability.FSYNC,
) -> Iterator[Run]:
    """The series with a fault at its first operation, at its second, and so on to its last."""
    for after in count():
        run = Run(directory / str(after), disk, replace(fault, after=after), durability)
        yield run
        run.end()
        if not run.fault.struck:
            assert after > 10, "the series is too short to prove anything"
            return


def test_a_disk_that_is_full_for_a_while_costs_the_commits_that_were_refused_alone(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    fault = Fault("write", 0, apsw.SQLITE_FULL, lasts=True, kept=0.5)
    for run in runs(tmp_path, disk, fault):
        run.go_on()
        assert state_of(run.journal) == state_of(run.model)
        run.go_on()
        assert run.after_a_crash() == state_of(run.model)
        disk.fault = None
        assert run.go_on() is None
        assert state_of(run.journal) == state_of(run.model)
        assert run.end() == state_of(run.model)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_torn_write_leaves_every_commit_that_returned_and_no_other(
    tmp_path: Path, disk: FaultyDisk, kept: float
) -> None:
    fault = Fault("write", 0, apsw.SQLITE_IOERR_WRITE, kills=True, kept=kept)
    for run in runs(tmp_path, disk, fault):
        failed = run.go_on()
        allowed = run.state_with(failed) if run.fault.whole else state_of(run.model)
        assert run.after_a_crash() in (state_of(run.model), allowed)


def test_a_crash_behind_a_whole_write_leaves_the_commit_under_way_whole_or_not_at_all(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    fault = Fault("write", 0, apsw.SQLITE_IOERR_WRITE, kills=True, kept=1.0)
    for run in runs(tmp_path, disk, fault):
        failed = run.go_on()
        assert run.after_a_crash() in (state_of(run.model), run.state_with(failed))


def test_a_commit_whose_sync_failed_is_not_there_and_can_be_there_again_after_a_crash_alone(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    """Its last write may have reached the file; the next commit that succeeds writes over it."""
    for run in runs(tmp_path, disk, Fault("sync", 0, apsw.SQLITE_IOERR_FSYNC)):
        failed = run.go_on()
        disk.fault = None
        assert state_of(run.journal) == state_of(run.model)
        assert run.after_a_crash() in (state_of(run.model), run.state_with(failed))
        run.journal.commit(changes(next_sequence=200))
        run.model.commit(changes(next_sequence=200))
        assert state_of(run.journal) == state_of(run.model)
        assert run.after_a_crash() == state_of(run.model)
        assert run.go_on() is None
        assert run.end() == state_of(run.model)


def test_a_commit_whose_sync_failed_is_gone_after_an_orderly_end(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    for run in runs(tmp_path, disk, Fault("sync", 0, apsw.SQLITE_IOERR_FSYNC)):
        run.go_on()
        assert run.end() == state_of(run.model)


@pytest.mark.parametrize("code", [apsw.SQLITE_IOERR_READ, apsw.SQLITE_CORRUPT])
def test_a_read_that_fails_is_an_error_and_costs_nothing(
    tmp_path: Path, disk: FaultyDisk, code: int
) -> None:
    for run in runs(tmp_path, disk, Fault("read", 0, code)):
        try:
            run.go_on()
            state_of(run.journal)
        except JournalError:
            assert run.fault.struck
        disk.fault = None
        assert state_of(run.journal) == state_of(run.model)
        assert run.go_on() is None
        assert state_of(run.journal) == state_of(run.model)
        assert run.end() == state_of(run.model)


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("read", apsw.SQLITE_IOERR_READ),
        ("write", apsw.SQLITE_FULL),
        ("sync", apsw.SQLITE_IOERR_FSYNC),
    ],
)
def test_a_journal_that_cannot_be_opened_can_be_opened_later(
    tmp_path: Path, disk: FaultyDisk, operation: Operation, code: int
) -> None:
    for after in count():
        directory = tmp_path / str(after)
        disk.fault = fault = Fault(operation, after, code, lasts=True)
        try:
            journal = open_journal(directory, disk)
        except JournalError:
            disk.fault = None
            journal = open_journal(directory, disk)
        disk.fault = None
        assert state_of(journal) == state_of(MemoryJournal())
        journal.commit(SERIES[0])
        journal.close()
        if not fault.struck:
            assert after > 1
            return


def test_a_restart_that_could_not_read_can_be_tried_again(tmp_path: Path, disk: FaultyDisk) -> None:
    model = MemoryJournal()
    journal = open_journal(tmp_path, disk)
    for change_set in SERIES:
        journal.commit(change_set)
        model.commit(change_set)
    for after in count():
        journal.close()
        fault = disk.fault = Fault("read", after, apsw.SQLITE_IOERR_READ)
        try:
            journal = open_journal(tmp_path, disk)
            state_of(journal)
        except JournalError:
            assert fault.struck
            journal.close()
            journal = open_journal(tmp_path, disk)
        disk.fault = None
        assert state_of(journal) == state_of(model)
        if not fault.struck:
            assert after > 10
            return


@pytest.mark.parametrize("durability", [Durability.FSYNC, Durability.OS])
def test_a_power_cut_takes_what_the_level_allows_and_leaves_the_journal_whole(
    tmp_path: Path, disk: FaultyDisk, durability: Durability
) -> None:
    """The files hold what was synced, and of what was written since any part."""
    fault = Fault("write", 0, apsw.SQLITE_IOERR_WRITE, kills=True, kept=1.0)
    for run in runs(tmp_path, disk, fault, durability):
        failed = run.go_on()
        allowed = [run.states[-1], run.state_with(failed)]
        if durability is Durability.OS:
            allowed += run.states
        for seed in range(3):
            image = tmp_path / f"{run.directory.name}.{seed}"
            assert state_in(disk.cut_power(run.directory, image, seed)) in allowed
