"""The latest account of a producer, kept so that a process that is killed leaves it behind.

Two slots of a page each are written in turn, through the system's cache and without waiting for the
disk: a kill leaves the newest slot or, in the middle of a write, the one before. What a power cut
leaves may be older.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct as Layout
from zlib import crc32

#: The file's name in the spill directory.
ACCOUNT_FILE = "account"

_SLOT_BYTES = 4096
_SLOTS = 2

#: Magic, size of the data and its CRC-32. The data follows.
_LAYOUT = Layout("<4sII")
_MAGIC = b"FBA1"


class AccountFile:
    """The file of one producer. Its methods raise OSError."""

    def __init__(self, directory: Path) -> None:
        path = directory / ACCOUNT_FILE
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._next = 0

    def read(self) -> list[bytes]:
        """What the slots hold, as far as they are whole."""
        whole = []
        for slot in range(_SLOTS):
            page = os.pread(self._handle, _SLOT_BYTES, slot * _SLOT_BYTES)
            if len(page) < _LAYOUT.size:
                continue
            magic, size, crc = _LAYOUT.unpack_from(page)
            data = page[_LAYOUT.size : _LAYOUT.size + size]
            if data and magic == _MAGIC and len(data) == size and crc32(data) == crc:
                whole.append(data)
        return whole

    def write(self, data: bytes) -> None:
        """Put it in the place of the one before the last."""
        if len(data) > _SLOT_BYTES - _LAYOUT.size:
            raise OSError(f"An account of {len(data)} bytes does not fit into a slot.")
        page = _LAYOUT.pack(_MAGIC, len(data), crc32(data)) + data
        os.pwrite(self._handle, page, self._next * _SLOT_BYTES)
        self._next = (self._next + 1) % _SLOTS

    def close(self) -> None:
        os.close(self._handle)
