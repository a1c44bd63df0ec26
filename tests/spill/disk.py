"""A disk in memory that loses what was not synced, as the files of a spill see it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random


class Crash(BaseException):
    """The process is dead. Nothing in it may catch this."""


class Inode:
    def __init__(self, data: bytes = b"") -> None:
        #: What a crash leaves.
        self.synced = data
        #: What reads see.
        self.data = bytearray(data)
        #: Writes (offset, data) and truncations (size, None) since.
        self.unsynced: list[tuple[int, bytes | None]] = []

    def apply(self, data: bytearray, offset: int, written: bytes | None) -> None:
        if written is None:
            del data[offset:]
            return
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + len(written)] = written


#: What a fault makes of an operation: an errno, or None for no fault.
Fault = Callable[[str, Path], int | None]


class Disk:
    """Files that count their steps, crash at one of them, and fail as they are told."""

    def __init__(self, entries: dict[Path, Inode] | None = None) -> None:
        self.entries: dict[Path, Inode] = entries or {}
        self._durable = dict(self.entries)
        #: Entries that were made (inode) or unmade (None) since their directory was synced.
        self._changes: list[tuple[Path, Inode | None]] = []
        self._handles: dict[int, tuple[Path, Inode]] = {}
        self._locked: set[Path] = set()
        self._next = 100
        self.steps: list[str] = []
        self.crash_at: int | None = None
        self.fault: Fault | None = None
        #: Draws how much of a write is taken at a time.
        self.short: Random | None = None

    def _step(self, name: str, path: Path) -> None:
        if self.crash_at is not None and len(self.steps) >= self.crash_at:
            raise Crash
        self.steps.append(f"{name} {path.name}")
        number = self.fault(name, path) if self.fault is not None else None
        if number is not None:
            if name == "sync":
                # The system forgets what it could not write, and calls it written.
                self.entries.get(path, Inode()).unsynced.clear()
            raise OSError(number, os.strerror(number))

    def crashed(self, random: Random) -> Disk:
        """The disk that the next process finds: everything unsynced is there, torn or gone."""
        entries = dict(self._durable)
        for path, inode in self._changes:
            if random.random() < 0.5:
                continue
            if inode is None:
                entries.pop(path, None)
            else:
                entries[path] = inode
        return Disk({path: Inode(self._torn(inode, random)) for path, inode in entries.items()})

    def killed(self) -> Disk:
        """The disk that the next process finds when the machine goes on: nothing more is synced."""
        disk = Disk(self.entries)
        disk._durable = self._durable
        disk._changes = self._changes
        return disk

    def _torn(self, inode: Inode, random: Random) -> bytes:
        data = bytearray(inode.synced)
        for offset, written in inode.unsynced:
            fate = random.choice(("whole", "torn", "gone"))
            if fate == "gone":
                continue
            torn = written is not None and fate == "torn"
            kept = random.randrange(len(written) + 1) if torn and written else None
            inode.apply(data, offset, written if written is None else written[:kept])
        return bytes(data)

    def make_directory(self, path: Path) -> None:
        self._step("make_directory", path)

    def names(self, directory: Path) -> list[str]:
        self._step("names", directory)
        return sorted(path.name for path in self.entries if path.parent == directory)

    def lock(self, path: Path) -> int:
        self._step("lock", path)
        if path in self._locked:
            raise BlockingIOError
        self._locked.add(path)
        return self._handle(path, Inode())

    def unlock(self, handle: int) -> None:
        self._locked.discard(self._handles[handle][0])

    def _handle(self, path: Path, inode: Inode) -> int:
        self._next += 1
        self._handles[self._next] = (path, inode)
        return self._next

    def create(self, path: Path) -> int:
        self._step("create", path)
        inode = self.entries.get(path)
        if inode is None:
            inode = self.entries[path] = Inode()
            self._changes.append((path, inode))
        else:
            inode.data.clear()
            inode.unsynced.append((0, None))
        return self._handle(path, inode)

    def open(self, path: Path) -> int:
        self._step("open", path)
        if path not in self.entries:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._handle(path, self.entries[path])

    def reopen(self, path: Path) -> int:
        return self.open(path)

    def size(self, handle: int) -> int:
        path, inode = self._handles[handle]
        self._step("size", path)
        return len(inode.data)

    def read_at(self, handle: int, size: int, offset: int) -> bytes:
        path, inode = self._handles[handle]
        self._step("read_at", path)
        if self.short is not None:
            size = self.short.randint(min(1, size), size)
        return bytes(inode.data[offset : offset + size])

    def write_at(self, handle: int, data: bytes, offset: int) -> int:
        path, inode = self._handles[handle]
        self._step("write_at", path)
        if self.short is not None:
            data = data[: self.short.randint(1, len(data))]
        inode.apply(inode.data, offset, data)
        inode.unsynced.append((offset, data))
        return len(data)

    def truncate(self, handle: int, size: int) -> None:
        path, inode = self._handles[handle]
        self._step("truncate", path)
        inode.apply(inode.data, size, None)
        inode.unsynced.append((size, None))

    def sync(self, handle: int) -> None:
        path, inode = self._handles[handle]
        self._step("sync", path)
        synced = bytearray(inode.synced)
        for offset, written in inode.unsynced:
            inode.apply(synced, offset, written)
        inode.synced = bytes(synced)
        inode.unsynced.clear()

    def sync_directory(self, directory: Path) -> None:
        self._step("sync_directory", directory)
        rest = []
        for path, inode in self._changes:
            if path.parent != directory:
                rest.append((path, inode))
            elif inode is None:
                self._durable.pop(path, None)
            else:
                self._durable[path] = inode
        self._changes = rest

    def rename(self, path: Path, target: Path) -> None:
        self._step("rename", path)
        inode = self.entries.pop(path)
        self.entries[target] = inode
        self._changes += [(target, inode), (path, None)]

    def remove(self, path: Path) -> None:
        self._step("remove", path)
        if self.entries.pop(path, None) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        self._changes.append((path, None))

    def close(self, handle: int) -> None:
        path, _ = self._handles.pop(handle)
        if path in self._locked:
            self._locked.discard(path)

    def open_handles(self) -> list[str]:
        return [path.name for path, _ in self._handles.values()]
