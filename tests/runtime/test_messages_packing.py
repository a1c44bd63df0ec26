"""What a pack holds comes out of it as it went in, or not at all."""

from __future__ import annotations

import random
import sys
import tracemalloc
from functools import cache
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode, encode

from forebay.messages.packing import (
    PACK_ATTRIBUTE,
    PACK_EVENTS_MAX,
    UNPACKED_BYTES_MAX,
    PackError,
    SealedPack,
    open_pack,
    seal,
)
from tests.runtime.usage_records import usage_records

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RECORDS = usage_records(50)
FIRST_MS, LAST_MS = decode(RECORDS[0])[0], decode(RECORDS[-1])[0]


def sealed(records: list[bytes] = RECORDS) -> SealedPack:
    return seal(
        records,
        identifier="pack-1",
        type="usage_log",
        node='h"öst',
        first_ms=FIRST_MS,
        last_ms=LAST_MS,
    )


def body_for(content: bytes, **members: Any) -> str:
    """A header with the right checksum for whatever it says."""
    header = {
        "pack": "pack-1",
        "type": "usage_log",
        "node": "host",
        "events": 1,
        "first_ms": FIRST_MS,
        "last_ms": LAST_MS,
        "codec": "zstd",
        "bytes": 100,
        "version": 1,
    }
    checked = encode(header | members)[:-1]
    return f'{checked.decode()},"crc32":"{crc32(content, crc32(checked)):08x}"}}'


def refusal(body: str, content: bytes, **options: int) -> str:
    with pytest.raises(PackError) as caught:
        open_pack(body, content, **options)
    return str(caught.value)


def test_a_pack_opens_to_what_was_sealed() -> None:
    pack = sealed()
    opened = open_pack(pack.body.decode(), pack.content)
    assert opened.header == pack.header
    assert opened.lines == b"\n".join(RECORDS)
    assert (pack.header.events, pack.header.bytes) == (50, len(opened.lines))


def test_a_record_over_several_lines_becomes_one_line() -> None:
    pack = sealed([b'[5,{\n  "a": "b\\n"\n}]', RECORDS[0]])
    opened = open_pack(pack.body.decode(), pack.content)
    assert opened.lines == b'[5,{   "a": "b\\n" }]\n' + RECORDS[0]


def test_the_size_is_what_sqs_counts() -> None:
    pack = sealed()
    assert pack.size_bytes == len(pack.body) + len(pack.content) + len(PACK_ATTRIBUTE + "Binary")


@pytest.mark.parametrize("body", ["", "{}", "text", "[1]", '{"pack":"1"}', "[" * 5_000, "\ud800"])
def test_a_body_that_is_no_header_is_refused(body: str) -> None:
    assert "not the header of a pack" in refusal(body, sealed().content)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("pack", '""'),
        ("pack", f'"{"a" * 257}"'),
        ("pack", "5"),
        ("type", '""'),
        ("node", "null"),
        ("last_ms", '"now"'),
        *(
            (member, value)
            for member in ("events", "first_ms", "bytes", "version")
            for value in ("-1", "1.5", "true", "NaN", "Infinity", "1e400", f"{10**30}", "1" * 5_000)
        ),
        ("events", "0"),
        ("events", f"{PACK_EVENTS_MAX + 1}"),
        ("bytes", "0"),
        ("first_ms", "253402300800000"),
    ],
)
def test_a_header_with_a_value_that_cannot_be_is_refused(member: str, value: str) -> None:
    given = encode(decode(body_for(b""))[member]).decode()
    body = body_for(b"").replace(f'"{member}":{given}', f'"{member}":{value}')
    assert "not the header of a pack" in refusal(body, b"")


def test_another_version_and_another_codec_say_to_update() -> None:
    for members in ({"version": 2}, {"codec": "zlib"}):
        assert "Update the reader" in refusal(body_for(b"", **members), b"")


def test_a_later_member_of_the_header_is_passed_over() -> None:
    pack = sealed()
    said = decode(pack.body) | {"region": "eu"}
    del said["crc32"]
    assert open_pack(body_for(pack.content, **said), pack.content).header == pack.header


def test_a_pack_larger_than_the_cap_is_refused_by_what_it_says() -> None:
    pack = sealed()
    assert "at most 100" in refusal(pack.body.decode(), pack.content, bytes_max=100)
    open_pack(pack.body.decode(), pack.content, bytes_max=pack.header.bytes)


@pytest.mark.parametrize(("lines", "events"), [(b"[5,1]", 2), (b"\n" * 5, 5), (b"[5,1]\n", 1)])
def test_another_number_of_records_than_the_header_says_is_refused(
    lines: bytes, events: int
) -> None:
    content = zstd.compress(lines)
    body = body_for(content, bytes=len(lines), events=events)
    assert f"its header says {events}" in refusal(body, content)


ZEROS = bytes(2 * UNPACKED_BYTES_MAX)


def without_size(data: bytes) -> bytes:
    """A frame that does not say how large its content is."""
    compressor = zstd.ZstdCompressor()
    return compressor.compress(data) + compressor.flush()


@cache
def bombs() -> dict[str, tuple[str, bytes]]:
    bomb = zstd.compress(ZEROS)
    lie = 1_000_000
    small = zstd.compress(b"[1]")
    wide = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    unsaid = wide.compress(b"[1]") + wide.flush()
    return {
        "a header that says less": (body_for(bomb, bytes=lie), bomb),
        "a header that says more": (body_for(small, bytes=4), small),
        "no size in the frame": (body_for(without_size(ZEROS), bytes=lie), without_size(ZEROS)),
        "no size and a wide window": (body_for(unsaid, bytes=3), unsaid),
        "several frames": (body_for(small * 3, bytes=9), small * 3),
        "frames after the first": (body_for(small + bomb, bytes=3), small + bomb),
        "bytes after the frame": (body_for(small + b"x", bytes=3), small + b"x"),
        "half a frame": (body_for(small[:-1], bytes=3), small[:-1]),
        "no frame": (body_for(b""), b""),
        "text": (body_for(b"not zstd"), b"not zstd"),
        "a frame to skip": (
            body_for(b"\x50\x2a\x4d\x18\x00\x00\x00\x00" + small, bytes=3),
            b"\x50\x2a\x4d\x18\x00\x00\x00\x00" + small,
        ),
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused_and_takes_no_memory(name: str) -> None:
    body, content = bombs()[name]
    tracemalloc.start()
    try:
        assert refusal(body, content).startswith("The ")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2_000_000


def test_content_of_the_cap_is_unpacked() -> None:
    lines = bytes(UNPACKED_BYTES_MAX)
    content = zstd.compress(lines)
    assert open_pack(body_for(content, bytes=len(lines)), content).lines == lines


PACK = sealed()


def opens_as_sealed_or_not(body: bytes, content: bytes) -> bool:
    """Whether it opens. Anything but the right content or a PackError fails the test."""
    try:
        opened = open_pack(body.decode(errors="surrogateescape"), content)
    except PackError:
        return False
    assert opened.header == PACK.header
    assert opened.lines == b"\n".join(RECORDS)
    return True


def test_no_flipped_bit_opens() -> None:
    chance = random.Random(0)
    places = range(len(PACK.body) * 8)
    for bit in places:
        body = bytearray(PACK.body)
        body[bit // 8] ^= 1 << bit % 8
        assert not opens_as_sealed_or_not(bytes(body), PACK.content)
    for bit in chance.sample(range(len(PACK.content) * 8), 2_000):
        content = bytearray(PACK.content)
        content[bit // 8] ^= 1 << bit % 8
        assert not opens_as_sealed_or_not(PACK.body, bytes(content))


changes = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(0, 20), st.binary(max_size=20)), max_size=4
)


def changed(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, removed, added in edits:
        data = data[:place] + added + data[place + removed :]
    return data


@given(body=changes, content=changes)
def test_a_changed_pack_opens_as_it_was_or_not(
    body: list[tuple[int, int, bytes]], content: list[tuple[int, int, bytes]]
) -> None:
    opens_as_sealed_or_not(changed(PACK.body, body), changed(PACK.content, content))


@given(content=changes, size_bytes=st.integers(1, 20_000))
def test_content_with_a_checksum_that_fits_it_raises_nothing_else(
    content: list[tuple[int, int, bytes]], size_bytes: int
) -> None:
    data = changed(PACK.content, content)
    try:
        opened = open_pack(body_for(data, bytes=size_bytes), data)
    except PackError:
        return
    assert len(opened.lines) == size_bytes


@given(body=st.text(), content=st.binary())
def test_anything_else_is_refused(body: str, content: bytes) -> None:
    refusal(body, content)
