"""Damage to what is on the disk: set aside, counted once, and never looped on."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.producer.spill import (
    LostRange,
    LostReason,
    Spill,
    SpillError,
    SpillLimits,
    SpillTooNew,
)
from forebay.producer.spill.format import HEADER_BYTES, encode_mark, encode_record, segment_key
from tests.spill.disk import Disk, Inode
from tests.spill.records import (
    DIRECTORY,
    LIMITS,
    assert_adds_up,
    drain,
    opened,
    read_all,
    record,
    records,
)


def spilled(*, limits: SpillLimits = LIMITS, count: int = 6, size: int = 20) -> Disk:
    """A directory with two segments' worth of records, of which the second is acknowledged."""
    disk = Disk()
    spill = opened(disk, limits)
    spill.append(records(0, count - 2, size=size))
    spill.acknowledge([spill.read(10**6)[1][0]])
    spill.checkpoint(b"checkpoint")
    spill.append(records(count - 2, count, size=size))
    spill.close()
    return disk


def segments(disk: Disk) -> list[Path]:
    return sorted(
        path for path in disk.entries if path.parent == DIRECTORY and segment_key(path.name)
    )


def with_file(disk: Disk, path: Path, data: bytes) -> Disk:
    entries = {other: Inode(bytes(inode.data)) for other, inode in disk.entries.items()}
    entries[path] = Inode(data)
    return Disk(entries)


def without(disk: Disk, path: Path) -> Disk:
    return Disk(
        {other: Inode(bytes(inode.data)) for other, inode in disk.entries.items() if other != path}
    )


def settle(disk: Disk, *, count: int = 6) -> tuple[set[str], int]:
    """Reopen twice and drain: which records are there, and how many events are corrupt."""
    spill = opened(disk)
    assert_adds_up(spill.account)
    found = read_all(spill, bytes_max=10**6)
    account = spill.account
    assert_adds_up(account)
    assert account.waiting == 3 * len(found)
    spill.close()
    again = opened(disk)
    assert again.account.corrupt == account.corrupt, "counted once"
    assert again.account.appended == account.appended
    assert drain(again) == found
    assert again.account.waiting == 0
    again.append(records(count, count + 1))
    assert drain(again) == records(count, count + 1), "it goes on"
    assert not segments(disk) or again.account.waiting_bytes
    again.close()
    assert not segments(disk)
    return {one.id for one in found}, account.corrupt


WAITING = {"r0", "r2", "r3", "r4", "r5"}


@pytest.mark.parametrize("file", ["segment", "marks", "checkpoint"])
def test_a_flipped_bit_anywhere(file: str) -> None:
    disk = spilled()
    path = segments(disk)[0] if file == "segment" else DIRECTORY / file
    data = bytes(disk.entries[path].data)
    # The rest of the marks is room: zeros.
    for position in range(len(data.rstrip(b"\0"))):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        found, corrupt = settle(with_file(disk, path, bytes(flipped)))
        if file == "segment":
            assert len(WAITING - found) <= 1, "neighbours survive"
            assert corrupt == 3 * len(WAITING - found)
        else:
            assert (found, corrupt) == (WAITING, 0)


def test_a_segment_cut_off_anywhere() -> None:
    disk = spilled()
    path = segments(disk)[0]
    data = bytes(disk.entries[path].data)
    for size in range(0, len(data), 3):
        found, corrupt = settle(with_file(disk, path, data[:size]))
        assert found == {name for name in WAITING if name in found}
        assert corrupt == 3 * len(WAITING - found), size


@pytest.mark.parametrize("file", ["marks", "checkpoint"])
def test_a_small_file_cut_off_anywhere(file: str) -> None:
    disk = spilled()
    data = bytes(disk.entries[DIRECTORY / file].data)
    for size in range(0, min(len(data), 600), 7):
        found, corrupt = settle(with_file(disk, DIRECTORY / file, data[:size]))
        assert corrupt == 0
        assert found in (WAITING, WAITING | {"r1"})


def test_a_torn_append_whose_header_is_whole_is_counted() -> None:
    disk = Disk()
    opened(disk).append(records(0, 3))
    (path,) = segments(disk)
    data = bytes(disk.entries[path].data)
    # Before the last record's end, and before the mark behind it: nothing else tells of it.
    spill = opened(with_file(disk, path, data[: -HEADER_BYTES - 20]))
    assert read_all(spill) == records(0, 2)
    assert (spill.account.appended, spill.account.corrupt) == (9, 3)


def test_noise_in_the_place_of_any_stretch() -> None:
    disk = spilled(count=20)
    path = segments(disk)[0]
    data = bytes(disk.entries[path].data)
    waiting = {f"r{n}" for n in range(20)} - {"r1"}
    for start in range(0, len(data), 13):
        noisy = data[:start] + b"FSPR" * 25 + data[start + 100 :]
        spill = opened(with_file(disk, path, noisy))
        found = {one.id for one in read_all(spill, bytes_max=10**6)}
        assert found <= waiting
        assert spill.account.corrupt == 3 * len(waiting - found)
        assert len(waiting - found) <= 4


def test_a_segment_deleted_by_hand_is_counted() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 30))
    spill.close()
    names = segments(disk)
    assert len(names) > 3
    for gone in names:
        spill = opened(without(disk, gone))
        found = len(read_all(spill))
        assert spill.account.corrupt == 90 - 3 * found > 0
        assert_adds_up(spill.account)


def test_a_segment_deleted_while_it_is_used() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 30))
    for path in segments(disk):
        disk.entries.pop(path)
    spill.append(records(30, 33, size=900))
    found = read_all(spill)
    assert found == records(30, 33, size=900)
    assert spill.account.corrupt == 90
    (lost,) = spill.take_lost()
    assert lost.events == 90


def test_what_is_lost_is_told_with_its_time() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 10))
    (path, *_) = segments(disk)
    disk.entries[path].data[HEADER_BYTES + 2 * 150 + 100] ^= 1
    assert len(read_all(spill)) == 9
    assert spill.take_lost() == [LostRange(LostReason.CORRUPT, 3, 2_000, 2_500)]


def test_what_is_damaged_is_set_aside() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 10))
    (path, *_) = segments(disk)
    disk.entries[path].data[HEADER_BYTES + 10] ^= 1
    damaged = bytes(disk.entries[path].data[HEADER_BYTES : HEADER_BYTES + 150])
    read_all(spill)
    (kept,) = [path for path in disk.entries if path.parent.name == "quarantine"]
    assert kept.name == f"{path.stem}.{HEADER_BYTES}"
    assert bytes(disk.entries[kept].data) == damaged


def test_the_quarantine_is_bounded() -> None:
    disk = Disk()
    limits = SpillLimits(bytes_max=8_000, segment_bytes=1_000)
    for round_ in range(10):
        spill = opened(disk, limits)
        spill.append(records(0, 40))
        for path in segments(disk):
            for offset in range(100, len(disk.entries[path].data), 200):
                disk.entries[path].data[offset] ^= 0xFF
        drain(spill)
        spill.close()
        held = [
            len(inode.data)
            for path, inode in disk.entries.items()
            if path.parent.name == "quarantine"
        ]
        assert 0 < sum(held) <= 2_000, round_


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 5_000, b"something else\n" * 100, b"FSPR", encode_mark(7)[:-1]]
)
def test_a_foreign_file_with_a_segments_name(data: bytes) -> None:
    disk = spilled()
    for name in ("99999999999999999999-0.spill", "00000000000000000001-7.spill"):
        found, corrupt = settle(with_file(disk, DIRECTORY / name, data))
        assert (found, corrupt) == (WAITING, 0)


def test_other_files_are_left_alone() -> None:
    disk = spilled()
    names = ["notes.txt", "1.spill", "copy of 00000000000000000000-0.spill"]
    for name in names:
        disk = with_file(disk, DIRECTORY / name, b"mine")
    assert settle(disk) == (WAITING, 0)
    assert all(disk.entries[DIRECTORY / name].data == b"mine" for name in names)


def test_a_copied_segment_is_read_once() -> None:
    disk = spilled()
    data = bytes(disk.entries[segments(disk)[0]].data)
    copy = with_file(disk, DIRECTORY / "00000000000000000000-1.spill", data)
    assert settle(copy) == (WAITING, 0)


def test_a_segment_that_was_done_with_and_is_restored_is_not_read() -> None:
    disk = spilled()
    path = segments(disk)[0]
    data = bytes(disk.entries[path].data)
    spill = opened(disk)
    assert len(drain(spill)) == 5
    spill.close()
    again = opened(with_file(disk, path, data))
    assert read_all(again) == []
    assert again.account.acknowledged == 18


def test_without_marks_the_account_begins_anew() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 20))
    spill.acknowledge(token for token, _ in spill.read(1_600))
    spill.close()
    first = int(segments(disk)[0].name[:20]) // 3
    assert first > 0
    again = opened(without(disk, DIRECTORY / "marks"))
    assert again.account.appended == again.account.waiting == 60 - 3 * first
    assert drain(again) == records(first, 20)
    assert again.account.acknowledged == again.account.appended
    assert_adds_up(again.account)


def test_marks_of_noise_are_set_aside_and_said_to_be_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = Disk()
    opened(disk).close()
    assert caplog.text == ""
    spill = opened(with_file(disk, DIRECTORY / "marks", b"noise" * 100))
    assert spill.account.appended == 0
    assert "The account of the spill directory /spill is gone." in caplog.text


def test_a_newer_format_is_refused_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    monkeypatch.setattr("forebay.producer.spill.format.VERSION", 2)
    spill = opened(disk)
    spill.append(records(0, 3))
    spill.close()
    monkeypatch.undo()
    before = {path: bytes(inode.data) for path, inode in disk.entries.items()}
    with pytest.raises(SpillTooNew, match=r"has format 2; this Forebay reads up to 1\. Upgrade"):
        opened(disk)
    assert {path: bytes(inode.data) for path, inode in disk.entries.items()} == before


def test_data_that_looks_like_records_is_data() -> None:
    """A record in the data of another one is read as data, and no damage makes it a record."""
    disk = Disk()
    spill = opened(disk)
    inner = encode_record(record(77), 3) + encode_mark(6)
    outer = record(0)
    spill.append([type(outer)("outer", 3, 0, 0, inner), record(1)])
    (path,) = segments(disk)
    assert [one.id for one in read_all(spill)] == ["outer", "r1"]
    spill.close()
    disk.entries[path].data[HEADER_BYTES * 2 + 20] ^= 1
    again = opened(disk)
    assert [one.id for one in read_all(again)] == ["r1"]
    assert again.account.corrupt == 3


def test_a_directory_in_the_place_of_a_file(tmp_path: Path) -> None:
    for name in ("marks", "checkpoint", "00000000000000000000-0.spill", "lock"):
        directory = tmp_path / name
        (directory / name).mkdir(parents=True)
        with pytest.raises(SpillError, match="cannot be used"):
            Spill.open(directory, LIMITS)
