"""A disk that is full or fails: a clear error or a counted loss, and never anything else."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from forebay.producer.spill import LostReason, Spill, SpillError, SpillLimits
from forebay.producer.spill.marks import MARKS_FILE
from tests.spill.disk import Disk, Fault
from tests.spill.records import (
    DIRECTORY,
    LIMITS,
    OLDEST,
    assert_adds_up,
    drain,
    opened,
    read_all,
    record,
    records,
)

FAULTS = [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EROFS]


def always(number: int, *names: str) -> Fault:
    return lambda name, path: number if name in names else None


class Life:
    """A process that goes on whatever the disk does."""

    def __init__(self) -> None:
        self.next = 0
        self.kept: set[str] = set()
        self.refused: set[str] = set()
        self.settled: set[str] = set()
        self.errors = 0

    def append(self, spill: Spill, count: int) -> None:
        made = records(self.next, self.next + count)
        self.next += count
        try:
            lost = spill.append(made)
        except SpillError:
            self.errors += 1
            self.refused |= {one.id for one in made}
            return
        events = sum(one.events for one in lost if one.reason is LostReason.FAILED) // 3
        kept = count - events
        self.kept |= {one.id for one in made[:kept]}
        self.refused |= {one.id for one in made[kept:]}

    def take(self, spill: Spill) -> None:
        try:
            taken = spill.read(700)
        except SpillError:
            self.errors += 1
            return
        spill.hand_back(token for token, _ in taken[1:2])
        gone = taken[:1] + taken[2:]
        self.settled |= {found.id for _, found in gone}
        try:
            spill.acknowledge(token for token, _ in gone)
        except SpillError:
            self.errors += 1

    def checkpoint(self, spill: Spill) -> None:
        try:
            spill.checkpoint(b"some bytes")
        except SpillError:
            self.errors += 1


def live(spill: Spill, life: Life) -> None:
    for _ in range(4):
        life.append(spill, 7)
        life.take(spill)
        life.checkpoint(spill)
        life.append(spill, 2)
        assert_adds_up(spill.account)


@pytest.mark.parametrize("number", FAULTS)
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for-good"])
def test_every_step_fails(number: int, for_good: bool) -> None:
    healthy = Disk()
    live(opened(healthy), Life())
    for at in range(len(healthy.steps)):
        disk, life = Disk(), Life()

        def fault(name: str, path: Path, disk: Disk = disk, at: int = at) -> int | None:
            step = len(disk.steps) - 1
            return number if step == at or (for_good and step > at) else None

        disk.fault = fault
        try:
            spill = opened(disk)
        except SpillError:
            disk.fault = None
            assert opened(disk).account.appended == 0, "a failed open locks nobody out"
            continue
        live(spill, life)
        disk.fault = None
        life.append(spill, 3)
        assert f"r{life.next - 1}" in life.kept, "it works again"
        before = spill.account
        found = {one.id for one in drain(spill)}
        account = spill.account
        assert_adds_up(account)
        assert account.waiting == 0
        assert account.corrupt == 3 * len(life.kept - life.settled - found)
        if before.corrupt == 0:
            assert found == life.kept - life.settled
        assert account.appended == 3 * len(life.kept)
        spill.close()
        assert disk.open_handles() == []
        again = opened(disk)
        assert again.account == spill.account
        assert read_all(again) == []
        again.close()


@pytest.mark.parametrize("number", FAULTS)
def test_reading_that_never_works_blocks_nobody_for_good(number: int) -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 30))
    disk.fault = always(number, "read_at", "open")
    failures = 0
    for _ in range(100):
        try:
            assert spill.read(10_000) == []
        except SpillError as error:
            failures += os.strerror(number) in str(error)
    if number == errno.EMFILE:
        assert failures == 100
        disk.fault = None
        assert drain(spill) == records(0, 30), "that was not the file's fault"
        return
    assert failures < 100
    assert spill.account.corrupt == 90
    (lost,) = spill.take_lost()
    assert (lost.reason, lost.events) == (LostReason.CORRUPT, 90)
    assert os.strerror(number) in lost.error
    assert spill.take_lost() == []
    disk.fault = None
    spill.append(records(30, 33))
    assert drain(spill) == records(30, 33)


def test_a_segment_that_cannot_be_read_is_set_aside() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 30))
    bad = min(path for path in disk.entries if path.suffix == ".spill")
    disk.fault = lambda name, path: errno.EIO if (name, path) == ("read_at", bad) else None
    found = []
    for _ in range(20):
        with suppress(SpillError):
            taken = spill.read(10_000)
            found += [one for _, one in taken]
            spill.acknowledge(token for token, _ in taken)
    lost = spill.account.corrupt // 3
    assert found == records(lost, 30)
    assert [path.name for path in disk.entries if path.parent.name == "quarantine"] == [bad.name]


@pytest.mark.parametrize("seed", range(5))
def test_short_reads_and_writes(seed: int) -> None:
    disk = Disk()
    disk.short = Random(seed)
    spill = opened(disk)
    spill.append(records(0, 20))
    spill.checkpoint(b"x" * 1000)
    taken = spill.read(500)
    spill.acknowledge(token for token, _ in taken)
    spill.close()
    again = opened(disk)
    assert again.checkpoint_data == b"x" * 1000
    assert again.account.corrupt == 0
    assert drain(again) == records(len(taken), 20)


def test_a_write_that_writes_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    spill = opened(disk)
    monkeypatch.setattr(disk, "write_at", lambda handle, data, offset: 0)
    with pytest.raises(SpillError, match="writes nothing"):
        spill.append(records(0, 1))


@pytest.mark.parametrize("seed", range(10))
def test_after_a_failed_sync_nothing_written_since_is_trusted(seed: int) -> None:
    """Linux tells of a failed write-back once, and then calls the lost pages written."""
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 3))
    disk.fault = always(errno.EIO, "sync")
    with pytest.raises(SpillError, match="Input/output error"):
        spill.append(records(3, 5))
    disk.fault = None
    spill.append(records(5, 7))
    survived = opened(disk.crashed(Random(seed)))
    assert survived.account.corrupt == 0
    assert read_all(survived) == records(0, 3) + records(5, 7)


@pytest.mark.parametrize("seed", range(10))
def test_marks_whose_sync_failed_are_written_anew(seed: int) -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 30))
    taken = spill.read(2_000)
    disk.fault = always(errno.EIO, "sync")
    with pytest.raises(SpillError):
        spill.acknowledge(token for token, _ in taken[:10])
    segments = len([path for path in disk.entries if path.suffix == ".spill"])
    assert spill.account.acknowledged == 30
    disk.fault = None
    crashed = opened(disk.crashed(Random(seed)))
    assert crashed.account.corrupt == 0
    disk.steps.clear()
    spill.acknowledge(token for token, _ in taken[10:11])
    assert "rename marks.new" in disk.steps, "the old file is not trusted"
    assert len([path for path in disk.entries if path.suffix == ".spill"]) < segments
    crashed = opened(disk.crashed(Random(seed)))
    assert read_all(crashed) == records(11, 30)
    assert crashed.account.acknowledged == 33


def test_a_failed_append_does_not_come_back_when_it_cannot_be_cut_off_either() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 2))
    disk.fault = always(errno.EIO, "sync", "truncate")
    with pytest.raises(SpillError):
        spill.append(records(2, 4))
    disk.fault = None
    spill.append(records(4, 5))
    assert read_all(spill) == [*records(0, 2), record(4)]
    assert read_all(opened(disk.killed())) == [*records(0, 2), record(4)]


def test_a_failed_append_is_cut_off() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 2))
    failures = iter([errno.EIO])
    disk.fault = lambda name, path: next(failures, None) if name == "sync" else None
    with pytest.raises(SpillError):
        spill.append(records(2, 4))
    assert read_all(opened(disk.killed())) == records(0, 2)


def test_the_segment_that_makes_a_failed_append_void_stays_as_long_as_it_must() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 2))
    disk.fault = always(errno.EIO, "sync", "truncate")
    with pytest.raises(SpillError):
        spill.append(records(2, 5))
    disk.fault = always(errno.EIO, "truncate")
    spill.append([record(5)])
    spill.acknowledge([spill.read(1_000)[-1][0]])
    spill.close()
    disk.fault = None
    again = opened(disk.killed())
    assert again.account.appended == 9
    assert read_all(again) == records(0, 2)


def test_what_fails_after_a_part_was_written_is_said_and_the_part_stays() -> None:
    disk = Disk()
    spill = opened(disk)
    writes = 0

    def fault(name: str, path: Path) -> int | None:
        nonlocal writes
        writes += name == "write_at"
        return errno.ENOSPC if writes > 2 else None

    disk.fault = fault
    (lost,) = spill.append(records(0, 30))
    assert lost.reason is LostReason.FAILED
    assert "No space left on device" in lost.error
    kept = 30 - lost.events // 3
    assert 0 < kept < 30
    disk.fault = None
    assert drain(spill) == records(0, kept)


def test_a_full_disk_does_not_stop_acknowledgements() -> None:
    """They make the room that is missing."""
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 60))

    def full(name: str, path: Path) -> int | None:
        if name == "create":
            return errno.ENOSPC
        return errno.ENOSPC if name == "write_at" and path.suffix == ".spill" else None

    disk.fault = full
    with pytest.raises(SpillError, match="No space left"):
        spill.append(records(60, 61))
    for taken in iter(lambda: spill.read(300), []):
        spill.acknowledge(token for token, _ in taken)
    assert not [path for path in disk.entries if path.suffix == ".spill"]
    spill.close()
    again = opened(disk)
    assert again.account.acknowledged == 180, "opening it needs no room either"
    again.close()


def test_a_full_disk_lets_any_number_of_acknowledgements_through() -> None:
    disk = Disk()
    spill = opened(disk, SpillLimits(bytes_max=10**6, segment_bytes=10**5))
    spill.append(records(0, 2_000, size=10))
    disk.fault = always(errno.ENOSPC, "create")
    for _ in range(2_000):
        ((token, _),) = spill.read(1)
        spill.acknowledge([token])
    assert not [path for path in disk.entries if path.suffix == ".spill"]
    disk.fault = None
    assert opened(disk.killed()).account.acknowledged == 6_000


def test_a_full_disk_is_named_where_a_spill_is_to_begin() -> None:
    disk = Disk()
    disk.fault = always(errno.ENOSPC, "write_at")
    with pytest.raises(SpillError, match="No space left on device"):
        opened(disk)
    assert not [path for path in disk.entries if path.suffix == ".new"], "it takes up no room"


def test_acknowledging_after_a_restart_on_a_full_disk() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 20))
    spill.acknowledge(token for token, _ in spill.read(300))
    spill.close()
    disk.fault = always(errno.ENOSPC, "create")
    again = opened(disk)
    assert len(drain(again)) == 18
    again.close()
    disk.fault = None
    assert opened(disk).account.acknowledged == 60


def test_many_marks_go_into_fresh_files() -> None:
    disk = Disk()
    spill = opened(disk, SpillLimits(bytes_max=10**6, segment_bytes=10**5))
    spill.append(records(0, 1000, size=10))
    for _ in range(1000):
        ((token, _),) = spill.read(1)
        spill.acknowledge([token])
    marks = disk.entries[DIRECTORY / MARKS_FILE]
    assert len(marks.data) == 64 * 1024
    assert disk.steps.count("rename marks.new") > 2
    assert opened(disk.killed()).account.acknowledged == 3000


def test_the_oldest_cannot_be_dropped_when_that_cannot_be_marked() -> None:
    disk = Disk()
    spill = opened(disk, OLDEST)
    spill.append(records(0, 20))
    disk.fault = lambda name, path: (
        errno.EIO if name in ("write_at", "create") and path.name.startswith("marks") else None
    )
    lost = spill.append(records(20, 30))
    assert_adds_up(spill.account)
    assert {one.reason for one in lost} == {LostReason.DROP_OLDEST, LostReason.FAILED}
    disk.fault = None
    assert not spill.account.waiting_bytes > OLDEST.bytes_max
    kept = spill.account.waiting // 3
    assert len(drain(spill)) == kept


def test_a_segment_that_cannot_be_removed_is_removed_later() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 20))
    disk.fault = always(errno.EACCES, "remove")
    assert drain(spill) == records(0, 20)
    disk.fault = None
    spill.append(records(20, 21))
    drain(spill)
    spill.close()
    assert not [path for path in disk.entries if path.suffix == ".spill"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(tmp_path: Path) -> None:
    (tmp_path / "spill").mkdir(mode=0o500)
    with pytest.raises(SpillError, match=r"cannot be used: .*Permission denied.*Make it"):
        Spill.open(tmp_path / "spill", LIMITS)


def test_a_path_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/dev/null/spill")):
        with pytest.raises(SpillError, match="cannot be used"):
            Spill.open(path, LIMITS)
