"""The pack: many envelopes of one type and one node in one SQS message.

AWS bills a message by 64 KiB, so a message of a hundred bytes costs as much as one that holds
thousands of them. The body is a short JSON header, and the binary message attribute `forebay.pack`
holds the records: a JSON array, compressed. A record is `[at_ms, payload]` or, with a business key,
`[at_ms, payload, key]`; the id of its envelope is the pack's id, a hyphen and its index.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

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

#: How hard zstd tries. Level 1 packs logs tighter than zlib at its best, ten times as fast.
_LEVEL = 1

_CODEC = "zstd"

_Count = Annotated[int, Meta(ge=1)]


class PackError(ForebayError):
    """The message is no pack, or one that cannot be unpacked."""


class PackHeader(Struct, frozen=True, kw_only=True):
    """What the body of a pack says."""

    #: The id of the pack. It stays when the pack is sent again.
    pack: Annotated[str, Meta(min_length=1)]
    type: Annotated[str, Meta(min_length=1)]
    node: str
    #: How many records there are.
    events: _Count
    #: When the first and the last record were made, in milliseconds since the Unix epoch.
    first_ms: int
    last_ms: int
    codec: str
    #: Size of the content before it was compressed.
    bytes: _Count
    version: int


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
    #: The records: a JSON array of `[at_ms, payload]` and `[at_ms, payload, key]`.
    json: bytes


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
    json = b"[" + b",".join(records) + b"]"
    content = zstd.compress(json, _LEVEL)
    header = PackHeader(
        pack=identifier,
        type=type,
        node=node,
        events=len(records),
        first_ms=first_ms,
        last_ms=last_ms,
        codec=_CODEC,
        bytes=len(json),
        version=PACK_VERSION,
    )
    return SealedPack(header, _encode(header), content)


def open_pack(body: str, content: bytes, *, bytes_max: int = UNPACKED_BYTES_MAX) -> OpenedPack:
    """Unpack a message whose attribute PACK_ATTRIBUTE holds `content`.

    Raises PackError when the header is none, when the version or the codec is unknown, when the
    content is damaged, and when it is larger than `bytes_max` or than the header says: nothing
    beyond `bytes_max` is ever unpacked.
    """
    try:
        header = _decode_header(body)
    except (MsgspecError, UnicodeEncodeError) as error:
        raise PackError(f"The body is not the header of a pack: {error}.") from error
    if header.version != PACK_VERSION or header.codec != _CODEC:
        raise PackError(
            f"The pack {header.pack} has version {header.version} and codec {header.codec!r};"
            f" this reader knows version {PACK_VERSION} and {_CODEC!r}. Update the reader."
        )
    if header.bytes > bytes_max:
        raise PackError(
            f"The pack {header.pack} unpacks to {header.bytes} bytes;"
            f" this reader takes at most {bytes_max}."
        )
    decompressor = zstd.ZstdDecompressor()
    try:
        json = decompressor.decompress(content, max_length=header.bytes + 1)
    except zstd.ZstdError as error:
        raise PackError(f"The pack {header.pack} is damaged: {error}.") from error
    if not decompressor.eof or len(json) != header.bytes:
        raise PackError(
            f"The pack {header.pack} does not have the {header.bytes} bytes that its header says."
        )
    return OpenedPack(header, json)
