"""The page on the format of packs says what the code writes and reads."""

from __future__ import annotations

import re
from typing import Any
from zlib import crc32

import pytest
from msgspec.json import decode

from forebay.messages import packing
from forebay.messages.packing import PackHeader, open_pack, seal
from forebay.protocol.limits import MESSAGE_BYTES_MAX
from tests.docs.pack_reader import PAGE, shown_reader
from tests.runtime.worker_messages import pack_attributes

TEXT = PAGE.read_text()

BODY, LINES = re.findall(r"^```(?:json)?\n([\[{].*?)\n```", TEXT, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| (\d+) \| `([0-9a-f ]+)` \|", TEXT, re.MULTILINE)
PIECES = [bytes.fromhex(piece) for _, piece in ROWS]
CONTENT = b"".join(PIECES)


def test_the_pieces_of_the_example_are_where_it_says() -> None:
    places = [int(place) for place, _ in ROWS]
    assert places == [sum(map(len, PIECES[:number])) for number in range(len(PIECES))]
    assert f"`forebay.pack`, {len(CONTENT)} bytes" in TEXT
    assert f"The body, {len(BODY)} bytes" in TEXT


def test_the_pieces_of_the_frame_are_what_they_are_said_to_be() -> None:
    magic, descriptor, size, block_header, block = PIECES
    assert int.from_bytes(magic, "little") == 0xFD2FB528
    assert descriptor[0] >> 6 == 0
    assert descriptor[0] & 0b00111111 == 0b00100000
    assert size[0] == len(LINES)
    number = int.from_bytes(block_header, "little")
    assert (number & 1, number >> 1 & 3, number >> 3) == (1, 2, len(block))


def test_the_example_opens_to_what_it_says() -> None:
    opened = open_pack(BODY, CONTENT)
    assert opened.lines.decode() == LINES
    checked, _, rest = BODY.rpartition(',"crc32":"')
    assert rest == f'{crc32(checked.encode() + CONTENT):08x}"}}'


def test_the_example_is_what_is_sealed() -> None:
    header = open_pack(BODY, CONTENT).header
    pack = seal(
        [line.encode() for line in LINES.splitlines()],
        identifier=header.pack,
        type=header.type,
        node=header.node,
        first_ms=header.first_ms,
        last_ms=header.last_ms,
    )
    assert pack.header == header
    assert open_pack(pack.body.decode(), pack.content).lines.decode() == LINES
    size_bytes = len(BODY) + len("forebay.pack") + len("Binary") + len(CONTENT)
    assert re.sub(r"\s+", " ", TEXT).count(
        f"AWS counts {size_bytes} bytes: {len(BODY)} of the body, 12 of the attribute's name, 6 of"
        f" its type and {len(CONTENT)} of its value."
    )


def test_every_member_of_the_header_is_named() -> None:
    table = TEXT[TEXT.index("## The header") : TEXT.index("## The content")]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert named == [*PackHeader.__struct_fields__, "crc32"] == list(decode(BODY))


@pytest.mark.parametrize(
    "said",
    [
        f"`{packing.PACK_ATTRIBUTE}`",
        f"1 to {packing.PACK_EVENTS_MAX:,}",
        f"up to {packing.PACK_BYTES_MAX:,} bytes",
        f"SQS's {MESSAGE_BYTES_MAX:,} bytes",
        f"unpacks {packing.UNPACKED_BYTES_MAX // 2**20} MiB at most",
        f"| `version` | `{packing.PACK_VERSION}` |",
    ],
)
def test_the_limits_are_those_of_the_code(said: str) -> None:
    assert said in TEXT


def received(body: str, content: bytes) -> dict[str, Any]:
    """A message as boto3 has it."""
    (name, attribute) = pack_attributes(content).popitem()
    return {
        "Body": body,
        "MessageAttributes": {name: {"BinaryValue": attribute.binary_value, "DataType": "Binary"}},
    }


def test_the_shown_reader_reads_the_example() -> None:
    first, second = shown_reader()(received(BODY, CONTENT))
    assert first == {
        "id": "5f0c-0-0",
        "type": "usage_log",
        "node": "host-42",
        "at_ms": 1795854360123,
        "payload": {"asset": "BTC"},
        "key": None,
    }
    assert (second["id"], second["key"]) == ("5f0c-0-1", "order-7")


def test_the_shown_reader_refuses_what_is_damaged() -> None:
    with pytest.raises(ValueError, match="damaged"):
        list(shown_reader()(received(BODY.replace("host-42", "host-43"), CONTENT)))
