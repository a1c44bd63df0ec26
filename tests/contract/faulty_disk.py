"""A disk for SQLite that fails when a test says so: an apsw VFS over the operating system's own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import apsw

if TYPE_CHECKING:
    from typing_extensions import Buffer

Operation = Literal["read", "write", "sync"]

_numbers = count(1)


@dataclass
class Fault:
    """One thing that goes wrong."""

    #: What fails.
    operation: Operation
    #: How many of these operations work before one fails.
    after: int
    #: SQLite's result code, the cause in its own words.
    code: int
    #: Whether all that come behind it fail as well, until the disk is told otherwise.
    lasts: bool = False
    #: Whether the process dies of it: nothing works any more.
    kills: bool = False
    #: The share of a failing write that reaches the file.
    kept: float = 0.0
    #: Whether the file holds all of a write that failed, because its rest was there already.
    whole: bool = False

    @property
    def struck(self) -> bool:
        """Whether it has happened."""
        return self.after < 0

    def strikes(self) -> bool:
        """Count an operation; whether it fails."""
        self.after -= 1
        return self.after == -1 or (self.lasts and self.struck)


class FaultyDisk(apsw.VFS):
    """The files of the operating system, with at most one fault at a time."""

    def __init__(self) -> None:
        #: What a journal is opened with to be on this disk.
        self.name = f"faulty-disk-{next(_numbers)}"
        super().__init__(self.name, "")
        self.fault: Fault | None = None
        #: Whether the process that used this disk has died.
        self.dead = False
        #: What each file held when it was synced last, and what was written to it since.
        self._synced: dict[str, bytes] = {}
        self._unsynced: dict[str, list[tuple[int, bytes]]] = {}

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:  # noqa: N802
        self.meet()
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.meet()
        super().xDelete(filename, syncdir)
        self._synced.pop(filename, None)
        self._unsynced.pop(filename, None)

    def meet(self, operation: Operation | None = None) -> Fault | None:
        """The fault that an operation meets. Raises apsw.Error when the process is dead."""
        if self.dead:
            raise apsw.exception_for(apsw.SQLITE_IOERR)
        fault = self.fault
        if fault is None or fault.operation != operation or not fault.strikes():
            return None
        self.dead = fault.kills
        return fault

    def written(self, path: str, data: bytes, offset: int) -> None:
        """Note what a power cut may take away again."""
        self._unsynced.setdefault(path, []).append((offset, data))

    def synced(self, path: str) -> None:
        """Note that a file is safe as it is now."""
        self._synced[path] = Path(path).read_bytes()
        self._unsynced[path] = []

    def cut_power(self, directory: Path, image: Path, seed: int) -> Path:
        """Make an image of a directory as a power cut leaves it.

        All that was synced is there, and of the later writes some, whatever their order was.
        """
        draw = random.Random(seed)
        image.mkdir()
        for path, content in self._synced.items():
            if Path(path).parent != directory:
                continue
            file = bytearray(content)
            for offset, data in self._unsynced[path]:
                if draw.random() < 0.5:
                    file.extend(bytes(max(0, offset + len(data) - len(file))))
                    file[offset : offset + len(data)] = data
            (image / Path(path).name).write_bytes(file)
        return image


class _File(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if (fault := self._disk.meet("read")) is not None:
            raise apsw.exception_for(fault.code)
        return super().xRead(amount, offset)

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802
        written = whole = bytes(data)
        fault = self._disk.meet("write")
        if fault is not None:
            written = written[: int(len(written) * fault.kept)]
        super().xWrite(written, offset)
        if fault is not None:
            fault.whole = super().xRead(len(whole), offset) == whole
        self._disk.written(self._path, written, offset)
        if fault is not None:
            raise apsw.exception_for(fault.code)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.meet()
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if (fault := self._disk.meet("sync")) is not None:
            raise apsw.exception_for(fault.code)
        self._disk.synced(self._path)
