"""The pack: many envelopes of one type and one node in one SQS message.

AWS bills a message by 64 KiB, so a message of a hundred bytes costs as much as one that holds
thousands of them. The body is a short JSON header, and the binary message attribute `forebay.pack`
holds the records: a line of JSON each, compressed. A record is `[at_ms, payload]` or, with a
business key, `[at_ms, payload, key]`; the id of its envelope is the pack's id, a hyphen and its
index.

The format is written down in docs/reference/pack-format.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated
from zlib import crc32

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder, Encoder

from forebay.errors import ForebayError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: The message attribute that makes a message a pack. Its type is Binary.
PACK_ATTRIBUTE = "forebay.pack"

#: The data type of the attribute.
_ATTRIBUTE_TYPE = "Binary"

#: Version of the header and of the content.
PACK_VERSION = 1

#: Largest body and attribute together: AWS bills a request for each 64 KiB of a message.
#: Source: https://aws.amazon.com/sqs/pricing/
PACK_BYTES_MAX = 65_536

#: Most that a reader unpacks unless it is told otherwise, in bytes.
UNPACKED_BYTES_MAX = 16 * 1024 * 1024

#: Most records in one pack: an object each in a reader's memory.
PACK_EVENTS_MAX = 100_000

#: How hard zstd tries. Level 1 packs logs tighter than zlib at its best, ten times as fast.
_LEVEL = 1

_CODEC = "zstd"

#: Longest id of a pack, in characters.
_ID_CHARACTERS_MAX = 256

#: What comes between the header and its checksum.
_CRC_MEMBER = ',"crc32":"'

#: The end of the year 9999, in milliseconds since the Unix epoch: the last that a date can be.
AT_MS_MAX = 253_402_300_799_999

#: When something was made, in milliseconds since the Unix epoch.
AtMs = Annotated[int, Meta(ge=0, le=AT_MS_MAX)]

#: What every JSON reader can tell exactly.
_Count = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class PackError(ForebayError):
    """The message is no pack, or one that cannot be unpacked."""


class PackHeader(Struct, frozen=True, kw_only=True):
    """What the body of a pack says."""

    #: The id of the pack. It stays when the pack is sent again.
    pack: Annotated[str, Meta(min_length=1, max_length=_ID_CHARACTERS_MAX)]
    type: Annotated[str, Meta(min_length=1)]
    node: str
    #: How many records there are.
    events: Annotated[int, Meta(ge=1, le=PACK_EVENTS_MAX)]
    #: When the first and the last record were made, in milliseconds since the Unix epoch.
    first_ms: AtMs
    last_ms: AtMs
    codec: str
    #: Size of the content before it was compressed.
    bytes: _Count
    version: _Count


class SealedPack(Struct, frozen=True):
    """A pack whose bytes are fixed."""

    header: PackHeader
    #: The header as the message's body.
    body: bytes
    #: The compressed records.
    content: bytes

    @property
    def size_bytes(self) -> int:
        """What AWS counts: the body, and the attribute's name, type and value."""
        return len(self.body) + len(self.content) + len(PACK_ATTRIBUTE) + len(_ATTRIBUTE_TYPE)


class OpenedPack(Struct, frozen=True):
    """A pack whose records can be read."""

    header: PackHeader
    #: The records, `[at_ms, payload]` or `[at_ms, payload, key]`: a line of JSON for each event.
    lines: bytes


_encode = Encoder().encode
_decode_header = Decoder(PackHeader).decode


def seal(
    records: Sequence[bytes],
    *,
    identifier: str,
    type: str,  # noqa: A002
    node: str,
    first_ms: int,
    last_ms: int,
) -> SealedPack:
    """Pack records that are encoded already. It may come out larger than PACK_BYTES_MAX."""
    lines = b"\n".join(records)
    if lines.count(b"\n") >= len(records):
        # In JSON a line break is white space. A payload that was given as JSON may have some.
        lines = b"\n".join(record.replace(b"\n", b" ") for record in records)
    content = zstd.compress(lines, _LEVEL)
    header = PackHeader(
        pack=identifier,
        type=type,
        node=node,
        events=len(records),
        first_ms=first_ms,
        last_ms=last_ms,
        codec=_CODEC,
        bytes=len(lines),
        version=PACK_VERSION,
    )
    checked = _encode(header)[:-1]
    crc = crc32(content, crc32(checked))
    return SealedPack(header, checked + f'{_CRC_MEMBER}{crc:08x}"}}'.encode(), content)


def open_pack(body: str, content: bytes, *, bytes_max: int = UNPACKED_BYTES_MAX) -> OpenedPack:
    """Unpack a message whose attribute PACK_ATTRIBUTE holds `content`.

    Raises PackError when the body is no header, when the version or the codec is unknown, when
    anything is damaged, and when the content is larger than `bytes_max` or not what the header
    says. Nothing beyond `bytes_max` is ever unpacked or allocated. What the lines hold is not
    looked at.
    """
    header = _read_header(body)
    _check_crc(header, body, content)
    if header.bytes > bytes_max:
        raise PackError(
            f"The pack {header.pack!r} unpacks to {header.bytes} bytes;"
            f" this reader takes at most {bytes_max}."
        )
    lines = unpack(header, content)
    events = lines.count(b"\n") + 1
    if events != header.events:
        raise PackError(
            f"The pack {header.pack!r} holds {events} records, and its header says {header.events}."
        )
    return OpenedPack(header, lines)


def unpack(header: PackHeader, content: bytes) -> bytes:
    """The lines of a pack that was opened once. Raises PackError."""
    decompressor = zstd.ZstdDecompressor()
    try:
        # A frame that names its size is given no more memory than that, whatever window it asks.
        size_bytes = zstd.get_frame_info(content).decompressed_size
        if size_bytes != header.bytes:
            raise PackError(
                f"The content of the pack {header.pack!r} says that it unpacks to {size_bytes}"
                f" bytes, and the header says {header.bytes}."
            )
        lines = decompressor.decompress(content, max_length=header.bytes)
    except zstd.ZstdError as error:
        raise PackError(f"The pack {header.pack!r} is damaged: {error}.") from error
    if not decompressor.eof or decompressor.unused_data or len(lines) != header.bytes:
        raise PackError(
            f"The pack {header.pack!r} does not hold one zstd frame of {header.bytes} bytes."
        )
    return lines


def _read_header(body: str) -> PackHeader:
    try:
        header = _decode_header(body)
    except (MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise PackError(f"The body is not the header of a pack: {error}.") from error
    if header.version != PACK_VERSION or header.codec != _CODEC:
        raise PackError(
            f"The pack {header.pack!r} has version {header.version} and codec {header.codec!r};"
            f" this reader knows version {PACK_VERSION} and {_CODEC!r}. Update the reader."
        )
    return header


def _check_crc(header: PackHeader, body: str, content: bytes) -> None:
    """Whoever changes one bit of the header or of the content is told."""
    checked, _, rest = body.rpartition(_CRC_MEMBER)
    if rest != f'{crc32(content, crc32(checked.encode())):08x}"}}':
        raise PackError(
            f"The pack {header.pack!r} is damaged: its header and its content do not have the crc32"
            " that the header ends with."
        )
