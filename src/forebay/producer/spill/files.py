"""The seam to the disk: every single thing that a spill does to files.

A test that puts another Files here can stop the spill before and after each step, tear every write
and take back what was not synced.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

#: Nobody but the owner: the files hold what was logged.
_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700


class Files(Protocol):
    """Steps on files. Every one may raise OSError. A handle is a number, as of os.open."""

    def make_directory(self, path: Path) -> None:
        """Create a directory and those above it; one that is there is fine."""

    def names(self, directory: Path) -> list[str]:
        """What is in a directory, sorted."""

    def lock(self, path: Path) -> int:
        """Create a file and lock it. Raises BlockingIOError when another holds it."""

    def unlock(self, handle: int) -> None:
        """Let another lock the file, even when a forked child has a copy of the handle."""

    def create(self, path: Path) -> int:
        """Open a file for reading and writing, empty, whether or not it was there."""

    def open(self, path: Path) -> int:
        """Open a file for reading."""

    def reopen(self, path: Path) -> int:
        """Open a file for writing, as it is."""

    def size(self, handle: int) -> int:
        """Size in bytes."""

    def read_at(self, handle: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes; fewer at the file's end, and when the system gives fewer."""

    def write_at(self, handle: int, data: bytes, offset: int) -> int:
        """Write, and return how many bytes were written, which may be fewer than given."""

    def truncate(self, handle: int, size: int) -> None:
        """Cut a file off."""

    def sync(self, handle: int) -> None:
        """Return when what was written to the file is on the disk."""

    def sync_directory(self, directory: Path) -> None:
        """Return when creations, renames and removals in the directory are on the disk."""

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file, over another one if need be."""

    def remove(self, path: Path) -> None:
        """Remove a file."""

    def close(self, handle: int) -> None:
        """Close a file."""


class SystemFiles:
    """The files of the operating system."""

    def make_directory(self, path: Path) -> None:
        if path.is_dir():
            return
        path.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        self.sync_directory(path.parent)

    def names(self, directory: Path) -> list[str]:
        return sorted(os.listdir(directory))  # noqa: PTH208 - the names, not their paths

    def lock(self, path: Path) -> int:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        # For who looks: a full disk stops nobody.
        with suppress(OSError):
            os.ftruncate(handle, os.pwrite(handle, b"%d\n" % os.getpid(), 0))
        return handle

    def unlock(self, handle: int) -> None:
        with suppress(OSError):
            # Nobody has it now, and the next process with this number is another.
            os.ftruncate(handle, 0)
        fcntl.flock(handle, fcntl.LOCK_UN)

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE_FILE)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def reopen(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def read_at(self, handle: int, size: int, offset: int) -> bytes:
        return os.pread(handle, size, offset)

    def write_at(self, handle: int, data: bytes, offset: int) -> int:
        return os.pwrite(handle, data, offset)

    def truncate(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def sync_directory(self, directory: Path) -> None:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, path: Path, target: Path) -> None:
        path.replace(target)

    def remove(self, path: Path) -> None:
        path.unlink()

    def close(self, handle: int) -> None:
        os.close(handle)


def write_whole(files: Files, handle: int, data: bytes, offset: int) -> None:
    """Write all of it, however little the system takes at a time. Raises OSError."""
    while data:
        written = files.write_at(handle, data, offset)
        if written <= 0:
            raise OSError("the system writes nothing and names no reason")
        data = data[written:]
        offset += written


def read_whole(files: Files, handle: int, size: int, offset: int) -> bytes:
    """Read all of it, or up to the file's end. Raises OSError."""
    found = files.read_at(handle, size, offset)
    if len(found) == size or not found:
        return found
    parts = [found]
    held = len(found)
    while held < size and found:
        found = files.read_at(handle, size - held, offset + held)
        held += len(found)
        parts.append(found)
    return b"".join(parts)


def replace(files: Files, path: Path, data: bytes) -> None:
    """Put a file in the place of another so that a crash leaves one of them whole.

    Raises OSError; then the old one may be there or the new one.
    """
    fresh = path.with_name(f"{path.name}.new")
    handle = files.create(fresh)
    try:
        write_whole(files, handle, data, 0)
        files.sync(handle)
    finally:
        files.close(handle)
    files.rename(fresh, path)
    files.sync_directory(path.parent)
