"""The bytes of a record and of a segment file, version 1. Pure.

Written down in docs/reference/spill-format.md, which changes with this file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from struct import Struct as Layout

import google_crc32c
from msgspec import Struct

from forebay.producer.spill.base import SpillError, SpillRecord

#: What a record starts with.
MAGIC = b"FSPR"

#: Version of the format.
VERSION = 1

#: magic, version, bytes of the id, ordinal, events, bytes of id and data, first_ms, last_ms,
#: CRC32C of id and data. The CRC32C of these bytes follows.
_LAYOUT = Layout("<4sHHQIIqqI")
_CRC = Layout("<I")

#: Size of what comes before id and data.
HEADER_BYTES = _LAYOUT.size + _CRC.size

#: Most bytes of an id: its length has two bytes.
_ID_BYTES_MAX = 2**16 - 1

#: Most events of a record, and most bytes of id and data: their fields have four bytes.
_FIELD_MAX = 2**32 - 1

#: What a time is between: its field has eight bytes and a sign.
_TIME_MAX = 2**63 - 1

#: The name of a segment file: the ordinal it starts with, and how many files before it started
#: with the same one.
_NAME = re.compile(r"(\d{20})-(\d+)\.spill")


class Header(Struct, frozen=True, gc=False):
    """What comes before id and data of a record. One without events is a mark: it has neither."""

    version: int
    id_bytes: int
    ordinal: int
    events: int
    #: Size of id and data.
    length: int
    first_ms: int
    last_ms: int
    body_crc: int

    @property
    def stop(self) -> int:
        """The ordinal of what follows."""
        return self.ordinal + self.events


def crc32c(data: bytes) -> int:
    """The CRC32C (Castagnoli) of RFC 3720, section 12.1."""
    return int(google_crc32c.value(data))


def encode_record(record: SpillRecord, ordinal: int) -> bytes:
    """The record as it is written. Raises SpillError when a field does not fit."""
    identifier = record.id.encode("utf-8", "surrogatepass")
    body = identifier + record.data
    if (
        len(identifier) > _ID_BYTES_MAX
        or not 1 <= record.events <= _FIELD_MAX
        or len(body) > _FIELD_MAX
        or not -_TIME_MAX <= record.first_ms <= _TIME_MAX
        or not -_TIME_MAX <= record.last_ms <= _TIME_MAX
    ):
        raise SpillError(
            f"A record cannot be spilled: its id has {len(identifier)} bytes (at most"
            f" {_ID_BYTES_MAX}), it has {record.events} events (at least 1)"
            f" and {len(record.data)} bytes."
        )
    return (
        _header(
            ordinal,
            id_bytes=len(identifier),
            events=record.events,
            length=len(body),
            first_ms=record.first_ms,
            last_ms=record.last_ms,
            body_crc=crc32c(body),
        )
        + body
    )


def encode_mark(ordinal: int) -> bytes:
    """A record without events: it says which ordinal comes next.

    One starts a segment and one ends each append, so that damage to the last record of a file does
    not hide how many events it had.
    """
    return _header(ordinal)


def _header(
    ordinal: int,
    *,
    id_bytes: int = 0,
    events: int = 0,
    length: int = 0,
    first_ms: int = 0,
    last_ms: int = 0,
    body_crc: int = 0,
) -> bytes:
    fields = _LAYOUT.pack(
        MAGIC, VERSION, id_bytes, ordinal, events, length, first_ms, last_ms, body_crc
    )
    return fields + _CRC.pack(crc32c(fields))


def decode_header(data: bytes) -> Header | None:
    """The header that `data` starts with; None when there is none, or it is damaged."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return None
    (crc,) = _CRC.unpack_from(data, _LAYOUT.size)
    if crc != crc32c(data[: _LAYOUT.size]):
        return None
    _, *fields = _LAYOUT.unpack_from(data)
    return Header(*fields)


def decode_body(header: Header, body: bytes) -> SpillRecord | None:
    """The record with this header; None when its id and data are damaged."""
    if len(body) != header.length or crc32c(body) != header.body_crc:
        return None
    try:
        identifier = body[: header.id_bytes].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return SpillRecord(
        identifier,
        header.events,
        header.first_ms,
        header.last_ms,
        body[header.id_bytes :],
    )


def record_bytes(record: SpillRecord) -> int:
    """How many bytes the record takes."""
    return HEADER_BYTES + len(record.id.encode("utf-8", "surrogatepass")) + len(record.data)


def segment_name(ordinal: int, attempt: int) -> str:
    """The name of a segment file."""
    return f"{ordinal:020d}-{attempt}.spill"


def segment_key(name: str) -> tuple[int, int] | None:
    """The ordinal and the attempt in a name; None when it is no segment's."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found[1]), int(found[2]))


def times(records: Sequence[SpillRecord]) -> tuple[int, int]:
    """The times of the first and the last event of some records, in milliseconds."""
    return min(record.first_ms for record in records), max(record.last_ms for record in records)
