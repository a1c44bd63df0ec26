"""The checkpoint: a few bytes of the spill's user, replaced as a whole."""

from __future__ import annotations

from pathlib import Path
from struct import Struct as Layout

from forebay.producer.spill.files import Files, read_whole, replace
from forebay.producer.spill.format import crc32c

#: The file's name.
CHECKPOINT_FILE = "checkpoint"

#: magic, version, nothing, size of the data. The CRC32C of these and the data follows, then the
#: data.
_LAYOUT = Layout("<4sHHI")
_CRC = Layout("<I")

_MAGIC = b"FSPC"
_VERSION = 1


class CheckpointDamaged(Exception):
    """The file is no checkpoint, or not a whole one."""


def write_checkpoint(files: Files, directory: Path, data: bytes) -> None:
    """Put it in the place of the one before. Raises OSError."""
    fields = _LAYOUT.pack(_MAGIC, _VERSION, 0, len(data))
    whole = fields + _CRC.pack(crc32c(fields + data)) + data
    replace(files, directory / CHECKPOINT_FILE, whole)


def read_checkpoint(files: Files, directory: Path) -> bytes | None:
    """The latest one; None when there is none. Raises CheckpointDamaged and OSError."""
    try:
        handle = files.open(directory / CHECKPOINT_FILE)
    except FileNotFoundError:
        return None
    try:
        whole = read_whole(files, handle, files.size(handle), 0)
    finally:
        files.close(handle)
    start = _LAYOUT.size + _CRC.size
    fields, data = whole[: _LAYOUT.size], whole[start:]
    if len(whole) < start or fields[:4] != _MAGIC:
        raise CheckpointDamaged
    _, version, _, size = _LAYOUT.unpack(fields)
    (crc,) = _CRC.unpack_from(whole, _LAYOUT.size)
    if version != _VERSION or size != len(data) or crc != crc32c(fields + data):
        raise CheckpointDamaged
    return data
