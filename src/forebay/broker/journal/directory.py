"""The directory that holds a broker's data, and the lock that keeps it to one broker."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from forebay.errors import DataDirectoryInUse, JournalError

#: The file that is locked while a broker runs. It holds the process id of the latest one.
LOCK_FILE = "lock"


class DataDirectory:
    """A data directory that is ours until `release`.

    The operating system frees the lock when the process ends, however it ends. Creates the
    directory. Raises DataDirectoryInUse when another broker has it, and JournalError when it cannot
    be used at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _make(path)
            self._lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(
                f"The data directory {path} cannot be used: {error.strerror}."
                " Choose another --data directory, or make this one writable."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise DataDirectoryInUse(
                f"The broker with process id {holder or 'unknown'} is using the data directory"
                f" {path}. Stop it or choose another --data directory."
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let another broker have the directory. A second call does nothing."""
        if self._lock >= 0:
            # Unlocking, and not only closing, frees the lock even when a forked child still holds
            # a copy of the descriptor.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = -1


def _make(path: Path) -> None:
    """Create the directory so that it survives a power cut, with what it will hold."""
    if path.is_dir():
        return
    path.mkdir(parents=True)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
