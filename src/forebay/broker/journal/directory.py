"""The directory that holds a broker's data, and the lock that keeps it to one broker."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from forebay.broker.journal.reserve import RESERVE_FILE
from forebay.errors import DataDirectoryInUse, JournalError

#: The file that is locked while a broker runs. It holds the process id of the latest one.
LOCK_FILE = "lock"

#: What SQLite adds to the name of a database for the files beside it.
_BESIDE = ("", "-wal", "-shm", "-journal")

#: Nobody but the owner: the files hold bodies of messages.
_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700

_log = logging.getLogger(__name__)


class DataDirectory:
    """A data directory that is ours until `release`.

    The operating system frees the lock when the process ends, however it ends. Creates the
    directory, and the databases that it is to hold as empty files: SQLite gives the files beside a
    database the mode of the database. Whatever the umask, nobody but the owner can read them, and
    files that an earlier version left wider are closed. So is a directory that holds nothing else;
    one that does is left as it is, with a warning. Raises DataDirectoryInUse when another broker
    has it, and JournalError when it cannot be used at all.
    """

    def __init__(self, path: Path, databases: Sequence[str] = ()) -> None:
        self.path = path
        try:
            _make(path)
            self._lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 20, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise DataDirectoryInUse(
                f"The broker with process id {holder or 'unknown'} is using the data directory"
                f" {path}. Stop it or choose another --data directory."
            ) from error
        try:
            _make_private(path, databases)
        except OSError as error:
            self.release()
            raise _unusable(path, error) from error
        holder_id = b"%d\n" % os.getpid()
        # Written before it is cut, and left out when that fails: a full disk stops nobody.
        with suppress(OSError):
            os.ftruncate(self._lock, os.pwrite(self._lock, holder_id, 0))

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
    path.chmod(_PRIVATE_DIRECTORY)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _make_private(path: Path, databases: Sequence[str]) -> None:
    """Let nobody but the owner read the lock and the databases. Creates databases not there yet."""
    for name in databases:
        (path / name).touch(_PRIVATE_FILE)
    ours = {LOCK_FILE, RESERVE_FILE, *(name + suffix for name in databases for suffix in _BESIDE)}
    present = {file.name for file in path.iterdir()}
    for name in present & ours:
        _restrict(path / name, _PRIVATE_FILE)
    if present <= ours:
        _restrict(path, _PRIVATE_DIRECTORY)
    elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning(
            "Others may look into the data directory %s. It holds more than the journal, so it is"
            " left as it is; the journal's files are closed to them.",
            path,
        )


def _restrict(path: Path, mode: int) -> None:
    """Give a file a mode, unless it is that private already."""
    if stat.S_IMODE(path.stat().st_mode) & ~mode == 0:
        return
    try:
        path.chmod(mode)
    except PermissionError:
        _log.warning(
            "Others may read %s, which holds messages, and it belongs to another user. Run as its"
            " owner: chmod %o %s",
            path,
            mode,
            path,
        )


def _unusable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"The data directory {path} cannot be used: {error.strerror}."
        " Choose another --data directory, or make this one writable."
    )
