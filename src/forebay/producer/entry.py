"""A message as the producer holds it, and what SQS would refuse it for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import MsgspecError, Struct, msgpack

from forebay.errors import ForebayError
from forebay.messages.envelope import EnvelopeError
from forebay.messages.packing import PACK_ATTRIBUTE
from forebay.producer.ledger import DropReason
from forebay.protocol import limits
from forebay.protocol.actions import MessageAttributes, MessageAttributeValue
from forebay.protocol.errors import (
    INVALID_PARAMETER_VALUE,
    MISSING_PARAMETER,
    SqsError,
)

#: What a pack's attribute has beside its value: the name and the type.
_PACK_ATTRIBUTE_BYTES = len(PACK_ATTRIBUTE) + len("Binary")

#: Alphanumerics and punctuation: the visible ASCII characters. API SendMessage.
_TOKEN = re.compile(rf"[!-~]{{1,{limits.TOKEN_CHARACTERS_MAX}}}")


class Entry(Struct, frozen=True, gc=False, array_like=True):
    """A message whose bytes and ids are fixed, so that sending it again sends the same message."""

    #: The id of the envelope, or of the pack.
    envelope_id: str
    #: The envelope, or the header of the pack, in UTF-8.
    body: bytes
    group_id: str | None = None
    deduplication_id: str | None = None
    #: How many envelopes it holds.
    events: int = 1
    #: The content of the pack; None for a single envelope.
    pack: bytes | None = None
    #: When the first and the last of its envelopes were made, in milliseconds since the epoch.
    first_ms: int = 0
    last_ms: int = 0
    #: The user's attributes.
    attributes: MessageAttributes | None = None
    delay_s: int | None = None

    @property
    def size_bytes(self) -> int:
        """What SQS counts: the body and the attributes with their names and types."""
        size = len(self.body)
        if self.pack is not None:
            size += _PACK_ATTRIBUTE_BYTES + len(self.pack)
        if self.attributes:
            size += sum(_attribute_bytes(*each) for each in self.attributes.items())
        return size


def events_in(entries: Iterable[Entry]) -> int:
    """How many envelopes they hold."""
    return sum(entry.events for entry in entries)


_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(Entry).decode


def encode_entry(entry: Entry) -> bytes:
    """The entry as the spill keeps it."""
    return _encode(entry)


def decode_entry(data: bytes) -> Entry:
    """The entry that was encoded. Raises EnvelopeError when `data` is none."""
    try:
        entry = _decode(data)
        entry.body.decode()
    except (MsgspecError, UnicodeDecodeError) as error:
        raise EnvelopeError(f"A spilled message cannot be read: {error}.") from error
    return entry


def _attribute_bytes(name: str, value: MessageAttributeValue) -> int:
    size = len(name.encode()) + len(value.data_type.encode())
    if value.binary_value is not None:
        return size + len(value.binary_value)
    return size + len((value.string_value or "").encode())


class Refused(ForebayError):
    """The message cannot be sent: `error` says why, `reason` is how it is counted."""

    def __init__(self, reason: DropReason, error: ForebayError) -> None:
        super().__init__(str(error))
        self.reason = reason
        self.error = error


def check(entry: Entry, *, fifo: bool) -> int:
    """The size of a message in bytes. Raises Refused for a message that SQS would refuse.

    SQS refuses a whole batch for one bad id, so a bad one must not come near the others.
    """
    size_bytes = entry.size_bytes
    if size_bytes > limits.MESSAGE_BYTES_MAX:
        raise Refused(
            DropReason.TOO_LARGE,
            SqsError(
                INVALID_PARAMETER_VALUE,
                f"The message has {size_bytes} bytes with its envelope;"
                f" it must be shorter than {limits.MESSAGE_BYTES_MAX} bytes.",
            ),
        )
    if fifo and entry.group_id is None:
        raise Refused(
            DropReason.INVALID,
            SqsError(MISSING_PARAMETER, "A message to a FIFO queue needs a group_id."),
        )
    if not fifo and entry.deduplication_id is not None:
        raise Refused(
            DropReason.INVALID,
            SqsError(INVALID_PARAMETER_VALUE, "Only FIFO queues take a deduplication_id."),
        )
    if entry.delay_s is not None:
        _check_delay(entry.delay_s, fifo=fifo)
    if entry.group_id is not None:
        _check_token("group_id", entry.group_id)
    if entry.deduplication_id is not None:
        _check_token("deduplication_id", entry.deduplication_id)
    return size_bytes


def _check_delay(delay_s: int, *, fifo: bool) -> None:
    if fifo:
        raise Refused(
            DropReason.INVALID,
            SqsError(
                INVALID_PARAMETER_VALUE,
                "A message to a FIFO queue takes no delay_s; its queue has a DelaySeconds.",
            ),
        )
    if type(delay_s) is not int or not 0 <= delay_s <= limits.DELAY_SECONDS_MAX:
        raise Refused(
            DropReason.INVALID,
            SqsError(
                INVALID_PARAMETER_VALUE,
                f"The delay_s is {delay_s!r:.100}; it must be a whole number from 0 to"
                f" {limits.DELAY_SECONDS_MAX}.",
            ),
        )


def _check_token(name: str, token: str) -> None:
    if _TOKEN.fullmatch(token) is None:
        raise Refused(
            DropReason.INVALID,
            SqsError(
                INVALID_PARAMETER_VALUE,
                f"The {name} {token[:200]!r} is not allowed: use 1 to"
                f" {limits.TOKEN_CHARACTERS_MAX} letters, digits and punctuation, no spaces.",
            ),
        )
