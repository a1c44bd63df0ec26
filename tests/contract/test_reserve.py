"""The room on a disk that is kept for receives and deletes, on a disk of which a test is master."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from forebay.broker.journal import reserve as reserve_module
from forebay.broker.journal.reserve import RESERVE_BYTES, RESERVE_FILE, DiskReserve, DiskSpace

MEBIBYTE = 1_048_576


class Disk:
    """What a disk says of itself. The reserve's file takes its space from what is free."""

    def __init__(self, total_bytes: int, free_bytes: int | None = None) -> None:
        self.total_bytes = total_bytes
        self.free_bytes = total_bytes if free_bytes is None else free_bytes
        self.looks = 0

    def space(self, directory: Path) -> DiskSpace:
        self.looks += 1
        file = directory / RESERVE_FILE
        held_bytes = file.stat().st_size if file.exists() else 0
        return DiskSpace(self.total_bytes, self.free_bytes - held_bytes)


def reserve_on(disk: Disk, directory: Path, size_bytes: int | None = None) -> DiskReserve:
    reserve = DiskReserve(directory, size_bytes, space=disk.space)
    reserve.look(0)
    return reserve


@pytest.mark.parametrize(
    ("total_bytes", "size_bytes"),
    [
        (24 * MEBIBYTE, 6 * MEBIBYTE),
        (256 * MEBIBYTE, RESERVE_BYTES),
        (2_000_000 * MEBIBYTE, RESERVE_BYTES),
    ],
)
def test_a_quarter_of_a_small_disk_is_kept_and_no_more_than_enough_of_a_large_one(
    tmp_path: Path, total_bytes: int, size_bytes: int
) -> None:
    assert DiskReserve(tmp_path, space=Disk(total_bytes).space).size_bytes == size_bytes


def test_half_of_the_reserve_is_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    reserve_on(Disk(100 * MEBIBYTE), tmp_path, 4 * MEBIBYTE)
    file = tmp_path / RESERVE_FILE
    assert file.stat().st_size == 2 * MEBIBYTE
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_blocks * 512 >= 2 * MEBIBYTE


def test_it_is_scarce_below_the_reserve_until_a_quarter_more_is_there(tmp_path: Path) -> None:
    disk = Disk(100 * MEBIBYTE)
    reserve = reserve_on(disk, tmp_path, 4 * MEBIBYTE)
    seen = []
    for free in (5, 4, 3.9, 4, 4.9, 5, 4):
        disk.free_bytes = int(free * MEBIBYTE)
        reserve.look(0)
        seen.append(reserve.scarce)
    assert seen == [False, False, True, True, True, False, False]


def test_unused_pages_are_room_and_what_has_to_be_stored_yet_is_none(tmp_path: Path) -> None:
    reserve = reserve_on(Disk(100 * MEBIBYTE, 3 * MEBIBYTE), tmp_path, 4 * MEBIBYTE)
    seen = []
    for reusable in (0, 2, -2):
        reserve.look(reusable * MEBIBYTE)
        seen.append(reserve.scarce)
    assert seen == [True, False, True]


def test_who_finds_no_space_is_given_the_file_once_and_it_is_made_anew(tmp_path: Path) -> None:
    disk = Disk(100 * MEBIBYTE)
    reserve = reserve_on(disk, tmp_path, 4 * MEBIBYTE)
    assert reserve.give_up()
    assert not (tmp_path / RESERVE_FILE).exists()
    assert reserve.scarce
    assert not reserve.give_up()
    reserve.look(0)
    assert (tmp_path / RESERVE_FILE).stat().st_size == 2 * MEBIBYTE
    assert not reserve.scarce


def test_it_stays_scarce_while_the_file_finds_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, size_bytes: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    reserve = reserve_on(Disk(100 * MEBIBYTE), tmp_path, 4 * MEBIBYTE)
    reserve.give_up()
    monkeypatch.setattr(reserve_module, "_allocate", full)
    reserve.look(0)
    assert reserve.scarce
    assert not (tmp_path / RESERVE_FILE).exists()
    monkeypatch.undo()
    reserve.look(0)
    assert not reserve.scarce


def test_the_file_takes_what_is_left_for_the_next_start(tmp_path: Path) -> None:
    disk = Disk(100 * MEBIBYTE)
    reserve = reserve_on(disk, tmp_path, 4 * MEBIBYTE)
    reserve.give_up()
    disk.free_bytes = MEBIBYTE
    reserve.look(0)
    assert not (tmp_path / RESERVE_FILE).exists()
    reserve.leave()
    assert (tmp_path / RESERVE_FILE).stat().st_size == MEBIBYTE
    assert reserve_on(disk, tmp_path, 4 * MEBIBYTE).give_up()


def test_a_file_of_another_size_is_brought_to_this_one(tmp_path: Path) -> None:
    disk = Disk(100 * MEBIBYTE)
    for size in (8, 2, 4):
        reserve_on(disk, tmp_path, size * MEBIBYTE)
        assert (tmp_path / RESERVE_FILE).stat().st_size == size * MEBIBYTE // 2


def test_a_fast_writer_is_looked_after_before_it_reaches_the_reserve(tmp_path: Path) -> None:
    """Each byte may take three of the disk; the disk is asked rarely while there is much room."""
    disk = Disk(1_000 * MEBIBYTE)
    reserve = reserve_on(disk, tmp_path, 4 * MEBIBYTE)
    disk.looks, written = 0, 0
    while not reserve.scarce:
        disk.free_bytes -= 3 * 10_000
        written += 1
        if reserve.spend(10_000):
            reserve.look(0)
    assert disk.free_bytes >= 3.9 * MEBIBYTE
    assert disk.looks < written / 20


def test_a_commit_too_large_for_the_room_is_told_from_one_that_leaves_half_the_reserve(
    tmp_path: Path,
) -> None:
    reserve = reserve_on(Disk(100 * MEBIBYTE, 10 * MEBIBYTE), tmp_path, 4 * MEBIBYTE)
    assert reserve.admits(2 * MEBIBYTE)
    assert not reserve.admits(int(2.1 * MEBIBYTE))
    reserve.spend(MEBIBYTE)
    assert not reserve.admits(2 * MEBIBYTE)


def test_without_a_reserve_there_is_no_file_and_no_alarm(tmp_path: Path) -> None:
    reserve = reserve_on(Disk(100 * MEBIBYTE, 0), tmp_path, 0)
    assert not reserve.scarce
    assert reserve.admits(MEBIBYTE)
    assert not reserve.give_up()
    assert not reserve.scarce
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_looked_at_changes_nothing(tmp_path: Path) -> None:
    disk = Disk(100 * MEBIBYTE)

    def space(directory: Path) -> DiskSpace:
        if disk.looks == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return disk.space(directory)

    reserve = DiskReserve(tmp_path, 4 * MEBIBYTE, space=space)
    for _ in range(5):
        reserve.look(0)
    assert disk.looks == 2
    assert (reserve.scarce, reserve.room_bytes) == (False, 100 * MEBIBYTE)


def test_trouble_and_its_end_are_a_line_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    disk = Disk(100 * MEBIBYTE, 3 * MEBIBYTE)
    reserve = reserve_on(disk, tmp_path, 4 * MEBIBYTE)
    for _ in range(5):
        reserve.look(0)
    disk.free_bytes = 50 * MEBIBYTE
    for _ in range(5):
        reserve.look(0)
    begin, end = caplog.messages
    assert "is almost full: messages are refused, while receives and deletes go on" in begin
    assert "3.1 MB are left; 4.2 MB are kept" in begin
    assert "has room again: messages are taken. It lasted 0.0 s." in end
