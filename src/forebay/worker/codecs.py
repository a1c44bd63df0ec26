"""What a message is: our envelope, a pack of them, plain JSON, an SNS notification or text."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TypeAlias

from msgspec import MsgspecError, Raw, Struct
from msgspec.json import Decoder

from forebay.errors import ForebayError
from forebay.messages.envelope import Envelope, EnvelopeError, decode_envelope
from forebay.messages.packing import PACK_ATTRIBUTE, PackHeader, open_pack
from forebay.protocol.actions import Message, MessageAttributes, MessageAttributeValue


class Unreadable(ForebayError):
    """The body is not what the codec reads."""


class Parcel(Struct, frozen=True, kw_only=True):
    """What a codec found in a body."""

    #: The text that was sent: the body, or the message in an SNS notification.
    text: str
    #: The payload as JSON; None when the text is no JSON.
    json: str | Raw | None = None
    envelope: Envelope | None = None
    #: The header of a pack that can be unpacked, and its content, which is not kept unpacked.
    pack: PackHeader | None = None
    content: bytes = b""
    #: Message attributes that SNS wrote into the body; None for those of the message itself.
    attributes: MessageAttributes | None = None
    #: Why the text is not an envelope.
    problem: str = ""


#: Reads a message, or raises Unreadable.
Codec: TypeAlias = Callable[[Message], Parcel]


class _SnsAttribute(Struct, rename="pascal"):
    type: str
    value: str


class _Notification(Struct, rename="pascal"):
    """The JSON in which SNS delivers to SQS without raw message delivery.

    Source: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    """

    type: Literal["Notification"]
    message: str
    topic_arn: str
    message_attributes: dict[str, _SnsAttribute] = {}


_read_json = Decoder(Raw).decode
_read_notification = Decoder(_Notification).decode


def ENVELOPE_OR_RAW(message: Message) -> Parcel:  # noqa: N802 - used as a constant
    """Our envelope, a pack, an SNS notification, whose message is read in its place, JSON, or text.

    Raises PackError for a pack that cannot be unpacked.
    """
    pack = _pack(message.body, message.message_attributes)
    if pack is not None:
        return pack
    try:
        envelope = decode_envelope(message.body)
    except EnvelopeError as error:
        notification = _notification(message.body)
        if notification is not None:
            return _unwrapped(notification)
        return _without_envelope(message.body, error, None)
    return Parcel(text=message.body, json=envelope.payload, envelope=envelope)


def ENVELOPE(message: Message) -> Parcel:  # noqa: N802
    """Our envelope or a pack, and nothing else."""
    pack = _pack(message.body, message.message_attributes)
    if pack is not None:
        return pack
    try:
        envelope = decode_envelope(message.body)
    except EnvelopeError as error:
        raise Unreadable(str(error)) from error
    return Parcel(text=message.body, json=envelope.payload, envelope=envelope)


def JSON(message: Message) -> Parcel:  # noqa: N802
    """JSON, taken as it is even when it looks like an envelope or a notification."""
    if not _is_json(message.body):
        raise Unreadable("The body is not JSON.")
    return Parcel(text=message.body, json=message.body)


def SNS(message: Message) -> Parcel:  # noqa: N802
    """An SNS notification and nothing else. With raw message delivery there is none."""
    notification = _notification(message.body)
    if notification is None:
        raise Unreadable(
            "The body is not an SNS notification. If the subscription has raw message delivery,"
            " take the codec ENVELOPE_OR_RAW."
        )
    return _unwrapped(notification)


def TEXT(message: Message) -> Parcel:  # noqa: N802
    """Text, whatever it looks like."""
    return Parcel(text=message.body, problem="It is read as text.")


def _unwrapped(notification: _Notification) -> Parcel:
    text = notification.message
    attributes = {
        name: _attribute(each) for name, each in notification.message_attributes.items()
    } or None
    pack = _pack(text, attributes)
    if pack is not None:
        return pack
    try:
        envelope = decode_envelope(text)
    except EnvelopeError as error:
        return _without_envelope(text, error, attributes)
    return Parcel(text=text, json=envelope.payload, envelope=envelope, attributes=attributes)


def _pack(text: str, attributes: MessageAttributes | None) -> Parcel | None:
    attribute = (attributes or {}).get(PACK_ATTRIBUTE)
    if attribute is None or attribute.binary_value is None:
        return None
    content = attribute.binary_value
    return Parcel(
        text=text, pack=open_pack(text, content).header, content=content, attributes=attributes
    )


def _without_envelope(
    text: str, error: EnvelopeError, attributes: MessageAttributes | None
) -> Parcel:
    return Parcel(
        text=text,
        json=text if _is_json(text) else None,
        attributes=attributes,
        problem=str(error.__cause__),
    )


def _notification(body: str) -> _Notification | None:
    if '"Notification"' not in body:
        return None
    try:
        return _read_notification(body)
    except (MsgspecError, UnicodeEncodeError):
        return None


def _attribute(attribute: _SnsAttribute) -> MessageAttributeValue:
    if attribute.type.startswith("Binary"):
        with suppress(ValueError):
            return MessageAttributeValue(
                data_type=attribute.type, binary_value=b64decode(attribute.value, validate=True)
            )
    return MessageAttributeValue(data_type=attribute.type, string_value=attribute.value)


def _is_json(text: str) -> bool:
    try:
        _read_json(text)
    except (MsgspecError, UnicodeEncodeError, RecursionError):
        return False
    return True
