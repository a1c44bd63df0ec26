"""A spill whose disk works."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from forebay.errors import SettingsError
from forebay.producer.settings import SpillFull
from forebay.producer.spill import (
    LostRange,
    LostReason,
    Spill,
    SpillAccount,
    SpillError,
    SpillInUse,
    SpillLimits,
    SpillRecord,
)
from forebay.producer.spill.files import SystemFiles
from tests.spill.disk import Disk
from tests.spill.records import (
    LIMITS,
    NEWEST,
    OLDEST,
    assert_adds_up,
    drain,
    opened,
    read_all,
    record,
    records,
)


def segment_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.spill"))


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    spill = Spill.open(tmp_path / "spill", LIMITS)
    assert spill.append(records(0, 30)) == []
    assert spill.append(records(30, 50)) == []
    assert spill.account.appended == spill.account.waiting == 150
    assert read_all(spill) == records(0, 50)
    assert spill.read(500) == []
    assert spill.account.waiting == 150, "read is not acknowledged"
    spill.close()


def test_what_is_acknowledged_does_not_come_back(tmp_path: Path) -> None:
    spill = Spill.open(tmp_path, LIMITS)
    spill.append(records(0, 20))
    taken = spill.read(100_000)
    spill.acknowledge([token for token, found in taken if found.id in ("r0", "r3", "r19")])
    spill.close()
    again = Spill.open(tmp_path, LIMITS)
    assert again.account.acknowledged == 9
    assert again.account.waiting == 51
    gone = {0, 3, 19}
    assert drain(again) == [record(n) for n in range(20) if n not in gone]
    assert again.account == SpillAccount(appended=60, acknowledged=60)
    assert segment_files(tmp_path) == []
    again.close()


def test_what_is_handed_back_is_read_again_first() -> None:
    spill = opened(Disk())
    spill.append(records(0, 10))
    first = spill.read(300)
    spill.hand_back(token for token, _ in first)
    assert [found.id for _, found in spill.read(100_000)] == [f"r{n}" for n in range(10)]


def test_a_token_counts_once() -> None:
    spill = opened(Disk())
    spill.append(records(0, 2))
    tokens = [token for token, _ in spill.read(1_000)]
    spill.acknowledge(tokens)
    spill.acknowledge(tokens)
    spill.hand_back(tokens)
    assert spill.account.acknowledged == 6
    assert spill.read(1_000) == []


def test_one_record_at_least_is_read_and_no_more_than_asked_for() -> None:
    spill = opened(Disk())
    spill.append(records(0, 10, size=1_000))
    for number in range(10):
        ((_, found),) = spill.read(10)
        assert found == record(number, size=1_000)
    spill.append(records(10, 20, size=100))
    for _, found in (taken := spill.read(400)):
        assert len(found.data) == 100
    assert len(taken) == 2, "each takes 151 bytes"


def test_an_append_is_one_write_and_one_sync() -> None:
    disk = Disk()
    spill = opened(disk, SpillLimits(bytes_max=10**6, segment_bytes=10**5))
    spill.append(records(0, 1))
    disk.steps.clear()
    spill.append(records(1, 200))
    name = "00000000000000000000-0.spill"
    assert disk.steps == [f"write_at {name}", f"sync {name}"]


def test_segments_are_bounded_and_a_large_record_has_its_own(tmp_path: Path) -> None:
    spill = Spill.open(tmp_path, LIMITS)
    for start in range(0, 100, 7):
        spill.append(records(start, start + 7))
    spill.append([record(1000, size=5_000)])
    spill.append(records(2000, 2001))
    sizes = [path.stat().st_size for path in segment_files(tmp_path)]
    assert len([size for size in sizes if size > LIMITS.segment_bytes]) == 1
    assert sum(sizes) == spill.account.waiting_bytes
    spill.close()


def test_a_full_spill_drops_the_newest_and_says_what() -> None:
    spill = opened(Disk(), NEWEST)
    (lost,) = spill.append(records(0, 40))
    kept = spill.account.appended // 3
    assert 15 < kept < 40
    assert lost == LostRange(LostReason.DROP_NEWEST, 3 * (40 - kept), 1_000 * kept, 39_500)
    assert spill.account.waiting_bytes <= NEWEST.bytes_max
    assert drain(spill) == records(0, kept)
    assert spill.append(records(40, 50)) == [], "there is room again"


def test_a_full_spill_drops_the_oldest_segment_and_says_what() -> None:
    spill = opened(Disk(), OLDEST)
    lost = spill.append(records(0, 40))
    assert {one.reason for one in lost} == {LostReason.DROP_OLDEST}
    dropped = sum(one.events for one in lost) // 3
    assert lost[0].first_ms == 0
    assert lost[-1].last_ms == 1_000 * (dropped - 1) + 500
    assert spill.account.dropped_oldest == 3 * dropped
    assert spill.account.waiting_bytes <= OLDEST.bytes_max
    assert read_all(spill) == records(dropped, 40)
    assert_adds_up(spill.account)


def test_what_is_being_sent_is_not_dropped() -> None:
    spill = opened(Disk(), OLDEST)
    spill.append(records(0, 20))
    ((token, first),) = spill.read(1)
    lost = spill.append(records(20, 40))
    assert lost[0].first_ms > first.last_ms
    spill.acknowledge([token])
    assert spill.account.acknowledged == 3
    assert_adds_up(spill.account)
    everything = spill.read(100_000)
    lost = spill.append(records(40, 80))
    assert min(one.first_ms for one in lost) >= 40_000
    spill.acknowledge(token for token, _ in everything)
    assert_adds_up(spill.account)


def test_a_record_that_no_spill_holds_is_dropped_alone() -> None:
    spill = opened(Disk(), OLDEST)
    lost = spill.append([record(0), record(1, size=10_000), record(2)])
    assert lost == [LostRange(LostReason.DROP_NEWEST, 3, 1_000, 1_500)]
    assert read_all(spill) == [record(0), record(2)]


def test_the_account_is_exact_over_restarts() -> None:
    disk = Disk()
    spill = opened(disk, OLDEST)
    spill.append(records(0, 50))
    spill.acknowledge(token for token, _ in spill.read(700))
    before = spill.account
    spill.close()
    assert opened(disk, OLDEST).account == before


def test_one_process_has_a_directory_and_slots_share_it(tmp_path: Path) -> None:
    first = Spill.open_slot(tmp_path, LIMITS)
    second = Spill.open_slot(tmp_path, LIMITS)
    assert (first.directory.name, second.directory.name) == ("0", "1")
    with pytest.raises(SpillInUse, match="Another process uses"):
        Spill.open(first.directory, LIMITS)
    first.append(records(0, 3))
    first.close()
    third = Spill.open_slot(tmp_path, LIMITS)
    assert read_all(third) == records(0, 3)
    second.close()
    third.close()


def test_what_is_for_one_queue_is_never_taken_for_another(tmp_path: Path) -> None:
    first = Spill.open_slot(tmp_path, LIMITS, owner="mail")
    first.append(records(0, 3))
    first.close()
    with pytest.raises(SpillInUse, match="is for mail and not for clicks"):
        Spill.open(first.directory, LIMITS, owner="clicks")
    other = Spill.open_slot(tmp_path, LIMITS, owner="clicks")
    assert other.directory != first.directory
    assert other.account.waiting == 0
    other.close()
    again = Spill.open_slot(tmp_path, LIMITS, owner="mail")
    assert again.directory == first.directory
    assert drain(again) == records(0, 3)
    again.close()
    (first.directory / "owner").write_bytes(b"mail 00000000")
    Spill.open(first.directory, LIMITS, owner="clicks").close()


def test_a_slot_in_which_something_waits_is_taken_first(tmp_path: Path) -> None:
    spills = [Spill.open_slot(tmp_path, LIMITS) for _ in range(4)]
    for number in (1, 3):
        spills[number].append([record(number)])
    for spill in spills:
        spill.close()
    (tmp_path / "notes").mkdir()
    (tmp_path / "007").mkdir()
    (tmp_path / "5").touch()
    again = [Spill.open_slot(tmp_path, LIMITS) for _ in range(5)]
    assert [spill.directory.name for spill in again[:4]] == ["1", "3", "0", "2"]
    assert [read_all(spill) for spill in again[:2]] == [[record(1)], [record(3)]]
    for spill in again:
        spill.close()


class Forked(SystemFiles):
    """Keeps a copy of the lock's descriptor, as a child has after a fork."""

    copy = -1

    def lock(self, path: Path) -> int:
        handle = super().lock(path)
        self.copy = os.dup(handle)
        return handle


def test_a_forked_child_lets_go_and_the_parent_keeps_the_directory(tmp_path: Path) -> None:
    files = Forked()
    spill = Spill.open(tmp_path, LIMITS, files=files)
    spill.abandon()
    with pytest.raises(SpillInUse):
        Spill.open(tmp_path, LIMITS)
    os.close(files.copy)
    Spill.open(tmp_path, LIMITS).close()


def test_a_forked_child_that_lives_on_does_not_keep_the_directory(tmp_path: Path) -> None:
    files = Forked()
    Spill.open(tmp_path, LIMITS, files=files).close()
    Spill.open(tmp_path, LIMITS).close()
    os.close(files.copy)


def test_what_is_read_is_all_that_is_in_memory(tmp_path: Path) -> None:
    limits = SpillLimits(bytes_max=10**8, segment_bytes=4_000_000)
    spill = Spill.open(tmp_path, limits)
    for start in range(0, 20_000, 100):
        spill.append(records(start, start + 100, size=500))
    spill.close()
    tracemalloc.start()
    try:
        spill = Spill.open(tmp_path, limits)
        count = 0
        while taken := spill.read(100_000):
            count += len(taken)
            spill.acknowledge(token for token, _ in taken)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak_bytes < 1_500_000, "of 10 million on the disk"
    spill.close()


def test_the_checkpoint_is_kept(tmp_path: Path) -> None:
    spill = Spill.open(tmp_path, LIMITS)
    spill.checkpoint(b"one")
    spill.checkpoint(b"two")
    assert spill.checkpoint_data == b"two"
    spill.close()
    again = Spill.open(tmp_path, LIMITS)
    assert again.checkpoint_data == b"two"
    again.close()


def test_there_is_no_checkpoint_at_first() -> None:
    assert opened(Disk()).checkpoint_data is None


def test_files_are_private(tmp_path: Path) -> None:
    spill = Spill.open(tmp_path / "spill", LIMITS)
    spill.append(records(0, 2))
    spill.checkpoint(b"x")
    assert (tmp_path / "spill").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "spill").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    spill.close()


def test_a_closed_spill_says_so() -> None:
    spill = opened(Disk())
    spill.close()
    spill.close()
    with pytest.raises(SpillError, match="was closed"):
        spill.append(records(0, 1))
    with pytest.raises(SpillError, match="was closed"):
        spill.read(1)
    with pytest.raises(SpillError, match="was closed"):
        spill.acknowledge([])
    with pytest.raises(SpillError, match="was closed"):
        spill.checkpoint(b"")


def test_no_file_stays_open() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 30))
    drain(spill)
    spill.append(records(30, 60))
    spill.read(400)
    spill.close()
    assert disk.open_handles() == []


@pytest.mark.parametrize(
    "wrong",
    [
        SpillRecord("x" * 70_000, 1, 0, 0, b""),
        SpillRecord("x", 0, 0, 0, b""),
        SpillRecord("x", 2**32, 0, 0, b""),
        SpillRecord("x", 1, 2**63, 0, b""),
    ],
)
def test_a_record_that_does_not_fit_the_format_is_refused(wrong: SpillRecord) -> None:
    spill = opened(Disk())
    with pytest.raises(SpillError, match="cannot be spilled"):
        spill.append([wrong])
    spill.append(records(0, 1))
    assert read_all(spill) == records(0, 1)


def test_any_id_and_any_data() -> None:
    spill = opened(Disk())
    odd = [
        SpillRecord("", 1, -5, 2**62, b""),
        SpillRecord("ä\ud800\0", 1, 0, 0, b"FSPR" * 50),
    ]
    spill.append(odd)
    assert read_all(spill) == odd


def test_limits_name_what_is_wrong() -> None:
    with pytest.raises(SettingsError, match="bytes_max is 0"):
        SpillLimits(bytes_max=0, segment_bytes=1, full=SpillFull.DROP_NEWEST)
