"""The room on a disk that is kept for receives and deletes.

A disk that is full must not keep anybody from emptying the queues on it. So messages are refused
while there is little room left, and what is left is for commits that take and delete messages. A
part of the reserve is a file, because others may fill the disk as well: it is given up when a write
finds no space, and made anew when there is some.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from forebay.broker.journal.trouble import Trouble

#: The file that holds a part of the reserve, in the data directory.
RESERVE_FILE = "reserve"

#: The reserve of a disk that is large enough, in bytes. It has to hold the commit log, 4 MiB, once
#: more in the tables' write-ahead log and once in the tables, several times over.
RESERVE_BYTES = 67_108_864

#: The reserve takes no larger share of a disk than one in so many parts.
_DISK_PARTS = 4

#: The file's share of the reserve: one in so many parts.
_FILE_PARTS = 2

#: What a committed byte may take of the disk: in a write-ahead log and in a file of a database,
#: each with the unused rest of its pages.
_BYTES_PER_BYTE = 3

#: Bytes between two looks at the disk, at least.
_LOOK_BYTES_MIN = 65_536

#: There is enough room again at so many quarters of the reserve: more than where it became scarce,
#: so that the alarm does not come and go with every message.
_ENOUGH_QUARTERS = 5


class DiskSpace(NamedTuple):
    """How large the file system of a directory is, and what is free for us, in bytes."""

    total_bytes: int
    free_bytes: int


def disk_space(directory: Path) -> DiskSpace:
    """Ask the operating system. Raises OSError."""
    found = os.statvfs(directory)
    return DiskSpace(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


class DiskReserve:
    """The reserve of one data directory, which must exist.

    `size_bytes` is how much is kept; None takes RESERVE_BYTES or a quarter of the disk, whatever is
    less, and 0 keeps nothing. `space` looks at the disk. Several threads may use it.
    """

    def __init__(
        self,
        directory: Path,
        size_bytes: int | None = None,
        *,
        space: Callable[[Path], DiskSpace] = disk_space,
    ) -> None:
        self._directory = directory
        self._file = directory / RESERVE_FILE
        self._space = space
        if size_bytes is None:
            size_bytes = min(RESERVE_BYTES, space(directory).total_bytes // _DISK_PARTS)
        self.size_bytes = size_bytes
        #: What may still be written, the reserve included, as of the last look.
        self.room_bytes = 0
        #: Whether less than the reserve is left, or was until a moment ago.
        self.scarce = False
        self._file_bytes = size_bytes // _FILE_PARTS
        #: What may be written before the next look, and what has been since the latest.
        self._look_bytes = 0
        self._spent_bytes = 0
        self._lock = threading.Lock()
        self._trouble = Trouble(
            f"The disk of {directory} is almost full: messages are refused, while receives and"
            " deletes go on. Free space on it, or receive and delete messages.",
            f"The disk of {directory} has room again: messages are taken.",
        )

    @property
    def is_tight(self) -> bool:
        """Whether it is time to leave the disk what the journal does not need."""
        return self.scarce or self.room_bytes < 2 * self.size_bytes

    def spend(self, size_bytes: int) -> bool:
        """Note that so much was committed. Answers whether to look again."""
        self._spent_bytes += _BYTES_PER_BYTE * size_bytes
        return self._spent_bytes >= self._look_bytes

    def admits(self, size_bytes: int) -> bool:
        """Whether so much can be committed and leave half of the reserve."""
        if self.size_bytes == 0:
            return True
        spent_bytes = self._spent_bytes + (_BYTES_PER_BYTE + 1) * size_bytes
        return self.room_bytes - spent_bytes >= self.size_bytes // 2

    def refuse(self) -> None:
        """Note that something was too large for the room that is left."""
        with self._lock:
            self._set_scarce(True)

    def look(self, reusable_bytes: int) -> None:
        """See how much room there is, when so much of the journal's own files can be used anew.

        What has to be stored yet counts against that, so that it may be negative.
        """
        with self._lock:
            try:
                free_bytes = self._space(self._directory).free_bytes
            except OSError:
                # The directory is gone, or its disk. Commits say so themselves.
                return
            file_bytes = self._held_bytes()
            room_bytes = self.room_bytes = free_bytes + file_bytes + reusable_bytes
            beyond_bytes = room_bytes - self.size_bytes
            self._look_bytes = max(min(beyond_bytes, self.size_bytes // 4), _LOOK_BYTES_MIN)
            self._spent_bytes = 0
            enough_bytes = self.size_bytes
            if self.scarce:
                enough_bytes = enough_bytes * _ENOUGH_QUARTERS // 4
            # On a disk that others have filled the file may have to be a little smaller.
            takes_bytes = min(self._file_bytes, file_bytes + free_bytes)
            self._set_scarce(
                room_bytes < enough_bytes
                or takes_bytes < self._file_bytes // 2
                or not self._hold(file_bytes, takes_bytes)
            )

    def give_up(self) -> bool:
        """Leave the file's space to whoever found none. False when there is none left."""
        with self._lock:
            given_bytes = self._held_bytes()
            with suppress(FileNotFoundError):
                self._file.unlink()
            self.room_bytes = min(self.room_bytes, given_bytes)
            self._set_scarce(self.size_bytes > 0)
            return given_bytes > 0

    def leave(self) -> None:
        """Have the file take what it can of its space: the next start needs some to open the files.

        Nothing happens when the disk does not let it.
        """
        with self._lock, suppress(OSError):
            held_bytes = self._held_bytes()
            free_bytes = self._space(self._directory).free_bytes
            self._hold(held_bytes, min(self._file_bytes, held_bytes + free_bytes))

    def _set_scarce(self, scarce: bool) -> None:
        self.scarce = scarce
        if scarce:
            self._trouble.met(
                f"{_megabytes(self.room_bytes)} are left;"
                f" {_megabytes(self.size_bytes)} are kept for receives and deletes."
            )
        else:
            self._trouble.over()

    def _held_bytes(self) -> int:
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    def _hold(self, held_bytes: int, file_bytes: int) -> bool:
        """Have the file take some space. Answers whether it does."""
        if held_bytes == file_bytes:
            return True
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(descriptor, min(held_bytes, file_bytes))
                _allocate(descriptor, file_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):
                self._file.unlink()
            return False
        return True


def _allocate(descriptor: int, size_bytes: int) -> None:
    """Have a file take up space. Raises OSError when there is not enough."""
    if size_bytes == 0:
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size_bytes)
        return
    # macOS has no such call.
    for offset in range(0, size_bytes, 1_048_576):
        os.pwrite(descriptor, bytes(min(1_048_576, size_bytes - offset)), offset)


def _megabytes(size_bytes: int) -> str:
    return f"{max(size_bytes, 0) / 1_000_000:.1f} MB"
