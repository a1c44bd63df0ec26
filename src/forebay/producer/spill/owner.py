"""Whose events a spill directory holds. Two who were given one directory must not mix them."""

from __future__ import annotations

from pathlib import Path

from forebay.producer.spill.files import Files, read_whole, replace
from forebay.producer.spill.format import crc32c

#: The file's name.
OWNER_FILE = "owner"


def read_owner(files: Files, directory: Path) -> str | None:
    """The name in the file; None when there is no file, or one that is damaged. Raises OSError."""
    try:
        handle = files.open(directory / OWNER_FILE)
    except FileNotFoundError:
        return None
    try:
        data = read_whole(files, handle, files.size(handle), 0)
    finally:
        files.close(handle)
    name = data.partition(b" ")[0]
    return name.decode() if data == _with_checksum(name) else None


def write_owner(files: Files, directory: Path, owner: str) -> None:
    """Say whose the directory is from now on. Raises OSError."""
    replace(files, directory / OWNER_FILE, _with_checksum(owner.encode()))


def _with_checksum(name: bytes) -> bytes:
    return b"%b %08x\n" % (name, crc32c(name))
