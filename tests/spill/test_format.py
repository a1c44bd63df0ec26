"""The bytes on the disk, as docs/reference/spill-format.md has them."""

from __future__ import annotations

import re
from pathlib import Path

from forebay.producer.spill import SpillRecord
from forebay.producer.spill.format import (
    HEADER_BYTES,
    crc32c,
    decode_body,
    decode_header,
    encode_mark,
    encode_record,
    segment_key,
    segment_name,
)
from forebay.producer.spill.marks import MARK_BYTES, MARKS_FILE
from tests.spill.disk import Disk
from tests.spill.records import DIRECTORY, opened, records

PAGE = Path(__file__).parents[2] / "docs/reference/spill-format.md"


def test_the_example_of_the_page() -> None:
    (shown,) = re.findall(r"```text\n(4653[0-9a-f ]+)\n```", PAGE.read_text())
    record = SpillRecord("p1", 3, 1_000, 2_000, b"abc")
    data = bytes.fromhex(shown)
    assert encode_record(record, 7) == data
    header = decode_header(data)
    assert header is not None
    assert (header.ordinal, header.stop, header.length) == (7, 10, 5)
    assert decode_body(header, data[HEADER_BYTES:]) == record


def test_the_checksum_is_crc32c() -> None:
    """The check value of the catalogue of CRCs, and RFC 3720, B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_a_segment_begins_and_each_append_ends_with_a_mark() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 2))
    spill.append(records(2, 3))
    data = bytes(disk.entries[DIRECTORY / segment_name(0, 0)].data)
    assert data.startswith(encode_mark(0))
    assert data.endswith(encode_mark(9))
    assert data.count(encode_mark(6)) == 1


def test_names() -> None:
    assert segment_name(7, 2) == "00000000000000000007-2.spill"
    assert segment_key("00000000000000000007-2.spill") == (7, 2)
    for other in ("7-2.spill", "00000000000000000007-2.spill.new", "marks", ""):
        assert segment_key(other) is None


def test_each_mark_is_there_twice_and_is_a_whole_span() -> None:
    disk = Disk()
    spill = opened(disk)
    spill.append(records(0, 3))
    for _ in range(2):
        ((token, _),) = spill.read(1)
        spill.acknowledge([token])
    data = bytes(disk.entries[DIRECTORY / MARKS_FILE].data)
    entries = [data[at : at + MARK_BYTES] for at in range(0, 6 * MARK_BYTES, MARK_BYTES)]
    assert [int.from_bytes(entry[16:24], "little") for entry in entries] == [0, 0, 3, 3, 6, 6]
    assert entries[4] == entries[5]
