"""Envelopes and records from what `send` and `publish` are given, with ids of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

from msgspec import Raw
from msgspec.json import Encoder

from forebay.client.plain import MessageAttribute, message_attributes
from forebay.clock import Clock
from forebay.messages.envelope import (
    EnvelopeError,
    check_key,
    check_name,
    encode_envelope_utf8,
    envelope_timestamp,
    require_json,
)
from forebay.messages.packing import PACK_ATTRIBUTE
from forebay.producer.entry import Entry, Refused
from forebay.producer.ledger import DropReason
from forebay.protocol.actions import MessageAttributes
from forebay.protocol.errors import (
    INVALID_MESSAGE_CONTENTS,
    INVALID_PARAMETER_VALUE,
    MISSING_PARAMETER,
    SqsError,
)

#: How many random bytes begin the ids of one producer; a counter ends them.
_ID_ENTROPY_BYTES = 10

_encode = Encoder().encode


class Envelopes:
    """Makes the messages of one producer in one process. Any thread may ask for them."""

    def __init__(
        self, node: str, clock: Clock, entropy: Callable[[int], bytes], *, fifo: bool
    ) -> None:
        self._node = node
        self._clock = clock
        self._fifo = fifo
        self._id_prefix = f"{entropy(_ID_ENTROPY_BYTES).hex()}-"
        self._id_counter = count()
        self._timestamp = (0, envelope_timestamp(0))

    def record(self, payload: object, key: str | None) -> bytes:
        """The record of a pack. Raises Refused, and what NOT_JSON names."""
        if payload.__class__ is Raw:
            require_json(payload)
        if key is None:
            return _encode((self._clock.wall_ms(), payload))
        try:
            check_key(key)
        except EnvelopeError as error:
            raise Refused(DropReason.UNENCODABLE, error) from error
        return _encode((self._clock.wall_ms(), payload, key))

    def entry(
        self,
        type: str,  # noqa: A002
        payload: object,
        key: str | None,
        group_id: str | None,
        deduplication_id: str | None,
        delay_s: int | None = None,
        attributes: Mapping[str, MessageAttribute] | None = None,
    ) -> Entry:
        """A message of its own. Raises Refused."""
        envelope_id = self.next_id()
        wall_ms = self._clock.wall_ms()
        timestamp = self._timestamp
        if timestamp[0] != wall_ms:
            timestamp = self._timestamp = (wall_ms, envelope_timestamp(wall_ms))
        try:
            body = encode_envelope_utf8(
                envelope_id, type, timestamp[1], self._node, payload, key=key
            )
        except EnvelopeError as error:
            raise Refused(DropReason.UNENCODABLE, error) from error
        return self._entry(
            envelope_id, body, wall_ms, group_id, deduplication_id, delay_s, attributes
        )

    def bare(
        self,
        body: str,
        group_id: str | None,
        deduplication_id: str | None,
        delay_s: int | None,
        attributes: Mapping[str, MessageAttribute] | None,
    ) -> Entry:
        """A message that has a body in place of an envelope. Raises Refused."""
        try:
            content = body.encode()
        except UnicodeEncodeError as error:
            refused = SqsError(INVALID_MESSAGE_CONTENTS, f"The body is no text in UTF-8: {error}.")
            raise Refused(DropReason.UNENCODABLE, refused) from error
        if not content:
            refused = SqsError(MISSING_PARAMETER, "The body is empty, and SQS takes none that is.")
            raise Refused(DropReason.INVALID, refused)
        return self._entry(
            self.next_id(),
            content,
            self._clock.wall_ms(),
            group_id,
            deduplication_id,
            delay_s,
            attributes,
        )

    def _entry(
        self,
        envelope_id: str,
        body: bytes,
        wall_ms: int,
        group_id: str | None,
        deduplication_id: str | None,
        delay_s: int | None,
        attributes: Mapping[str, MessageAttribute] | None,
    ) -> Entry:
        if self._fifo and deduplication_id is None:
            deduplication_id = envelope_id
        if not attributes and delay_s is None:
            return Entry(envelope_id, body, group_id, deduplication_id, 1, None, wall_ms, wall_ms)
        return Entry(
            envelope_id,
            body,
            group_id,
            deduplication_id,
            first_ms=wall_ms,
            last_ms=wall_ms,
            attributes=_checked(attributes),
            delay_s=delay_s,
        )

    def alone(self, type: str) -> EnvelopesOfType:  # noqa: A002
        """What makes messages of their own from records of a type. Raises Refused."""
        try:
            check_name("type", type)
        except EnvelopeError as error:
            raise Refused(DropReason.UNENCODABLE, error) from error
        return EnvelopesOfType(type, self._node, self.next_id)

    def next_id(self) -> str:
        """The id of another envelope or pack."""
        return f"{self._id_prefix}{next(self._id_counter)}"


class EnvelopesOfType:
    """Makes messages of their own from records, which cost their sender less than envelopes do."""

    def __init__(self, type: str, node: str, next_id: Callable[[], str]) -> None:  # noqa: A002
        self._next_id = next_id
        self._after_id = b'","type":' + _encode(type) + b',"timestamp":"'
        self._after_timestamp = b'","node":' + _encode(node) + b',"payload":'
        self._timestamp = (b"", b"", 0)

    def entry(self, record: bytes) -> Entry:
        """The message of a record without a key. Raises EnvelopeError for one that is no text."""
        comma = record.index(b",")
        at, timestamp, at_ms = self._timestamp
        if at != record[1:comma]:
            at = record[1:comma]
            at_ms = int(at)
            timestamp = envelope_timestamp(at_ms).encode()
            self._timestamp = (at, timestamp, at_ms)
        envelope_id = self._next_id()
        body = b"".join(
            (
                b'{"id":"',
                envelope_id.encode(),
                self._after_id,
                timestamp,
                self._after_timestamp,
                record[comma + 1 : -1],
                b"}",
            )
        )
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise EnvelopeError(f"The payload is no text in UTF-8: {error}.") from error
        return Entry(envelope_id, body, None, None, 1, None, at_ms, at_ms)


def _checked(attributes: Mapping[str, MessageAttribute] | None) -> MessageAttributes | None:
    try:
        checked = message_attributes(attributes)
        if checked and PACK_ATTRIBUTE in checked:
            raise SqsError(
                INVALID_PARAMETER_VALUE,
                f"The attribute {PACK_ATTRIBUTE!r} makes a message a pack; give it another name.",
            )
    except SqsError as error:
        raise Refused(DropReason.INVALID, error) from error
    return checked
