"""The envelope: the JSON that a producer writes into a message's body and a worker routes by.

    {"id": "…", "type": "usage_log", "timestamp": "2026-11-22T08:26:00.123Z",
     "node": "api-1", "payload": {…}, "key": "…"}

The id names the delivery: SQS gives a message a new MessageId when it is redriven or when a send is
repeated, and the envelope's id stays. The key is optional and names the business fact, so that two
messages about one fact can be told from two facts.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from msgspec import Meta, MsgspecError, Raw, Struct
from msgspec.json import Decoder, Encoder

from forebay.errors import ForebayError

#: Longest type of a message and longest name of a node, in characters. Each pack has both in its
#: header, which takes its room from the records.
NAME_CHARACTERS_MAX = 256

#: An empty id, type or key would make every message that has one look like the same.
_NotEmpty = Annotated[str, Meta(min_length=1)]

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


class EnvelopeError(ForebayError):
    """The body is not an envelope, or what was given cannot be written into one."""


class Envelope(Struct, frozen=True, gc=False):
    """An envelope as it was read. The payload is still JSON: decode it to the type you expect."""

    id: _NotEmpty
    type: _NotEmpty
    #: When it was made: ISO 8601 in UTC with milliseconds and a Z.
    timestamp: str
    #: Who made it.
    node: str
    payload: Raw
    key: _NotEmpty | None = None


class _Outgoing(Struct, omit_defaults=True, gc=False):
    """An envelope as it is written: the payload is any object that msgspec can encode."""

    id: str
    type: str
    timestamp: str
    node: str
    payload: object
    key: str | None = None


#: What the encoder raises for what cannot be written as JSON.
NOT_JSON = (TypeError, ValueError, OverflowError, RecursionError, MsgspecError)

_encode = Encoder().encode
_decode = Decoder(Envelope).decode
_read_json = Decoder(Raw).decode


def encode_envelope(
    identifier: str,
    type: str,  # noqa: A002
    timestamp: str,
    node: str,
    payload: object,
    *,
    key: str | None = None,
) -> str:
    """The message body that carries `payload`.

    Raises EnvelopeError when the payload cannot be written as JSON, and for a type or a key that
    `check_name` or `check_key` refuses.
    """
    return encode_envelope_utf8(identifier, type, timestamp, node, payload, key=key).decode()


def encode_envelope_utf8(
    identifier: str,
    type: str,  # noqa: A002
    timestamp: str,
    node: str,
    payload: object,
    *,
    key: str | None = None,
) -> bytes:
    """As encode_envelope, in UTF-8: for who needs the size now and the text later."""
    check_name("type", type)
    if key is not None:
        check_key(key)
    try:
        if payload.__class__ is Raw:
            require_json(payload)
        body = _encode(_Outgoing(identifier, type, timestamp, node, payload, key))
        # Of a Raw that is somewhere in the payload only this must hold: else no batch is a text.
        body.decode()
    except NOT_JSON as error:
        raise EnvelopeError(
            f"The payload of a {type!r} message cannot be written as JSON: {error}."
            " Use dicts, lists, strings, numbers, dates, dataclasses or msgspec structs."
        ) from error
    return body


def require_json(payload: object) -> None:
    """Raise one of NOT_JSON for a msgspec.Raw that is no JSON: it is written as it was given."""
    text = bytes(payload) if isinstance(payload, Raw) else b""
    text.decode()
    _read_json(text)


def check_name(member: str, name: object) -> None:
    """Raise EnvelopeError for a type, or the name of a node, that no message should have."""
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= NAME_CHARACTERS_MAX
        or not name.isprintable()
    ):
        raise EnvelopeError(
            f"The {member} of a message is {_shortened(name)}; it must be a text of 1 to"
            f" {NAME_CHARACTERS_MAX} printable characters."
        )


def check_key(key: object) -> None:
    """Raise EnvelopeError for a key that is no text, an empty one, or none that UTF-8 can write."""
    if isinstance(key, str) and key:
        with suppress(UnicodeEncodeError):
            key.encode()
            return
    raise EnvelopeError(
        f"The key of a message is {_shortened(key)}; it must be a text that is not empty."
    )


def _shortened(value: object) -> str:
    return f"{value!r:.100}"


def decode_envelope(body: str) -> Envelope:
    """The envelope in a message's body.

    Raises EnvelopeError when the body is something else: text, or JSON without the envelope's
    members.
    """
    try:
        return _decode(body)
    except (MsgspecError, UnicodeEncodeError) as error:
        raise EnvelopeError(
            f"The body is not an envelope: {error}. An envelope is a JSON object with the members"
            " id, type, timestamp, node, payload and, if there is one, key."
        ) from error


def envelope_timestamp(wall_ms: int) -> str:
    """Milliseconds since the Unix epoch as an envelope's timestamp."""
    second, millisecond = divmod(wall_ms, 1000)
    return f"{_iso_second(second)}.{millisecond:03d}Z"


def envelope_at_ms(timestamp: str) -> int:
    """An envelope's timestamp as milliseconds since the Unix epoch; UTC if it names no zone.

    Raises EnvelopeError when it is none, or before the epoch.
    """
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise EnvelopeError(f"The timestamp {timestamp!r} is not ISO 8601.") from error
    at_ms = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
    if at_ms < 0:
        raise EnvelopeError(f"The timestamp {timestamp!r} is before 1970.")
    return at_ms


@lru_cache(maxsize=16)
def _iso_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
