"""What names a piece of work, and what tells whether two are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from forebay.errors import SettingsError
from forebay.worker.outcomes import Reject
from forebay.worker.received import Received


class KeyFieldMissing(Reject):
    """The message lacks a field that its business key is made of. A worker rejects it."""


def delivery_key(identifier: str) -> str:
    """The key of one message: its envelope's id, or its MessageId without an envelope."""
    return f"delivery/{identifier}"


def business_key(message_type: str, key: str) -> str:
    """The key of one thing done for one business fact.

    The type of the message is a part of it, so that charging an order and refunding it are two.
    """
    return f"business/{quote(message_type, safe='')}/{key}"


def payload_digest(payload: object) -> bytes:
    """SHA-256 of the payload as canonical JSON: fields in order, no spaces, ASCII.

    The payload is what `json.loads` gives.
    """
    return hashlib.sha256(_canonical(payload).encode()).digest()


def wire_payload(received: Received[Any]) -> object:
    """The payload as it was sent, not as the handler's type reads it.

    A field that a newer version of the program adds with a default must not make an old message
    look changed.
    """
    if received.envelope is None:
        return _loads(received.text)
    return _loads(bytes(received.envelope.payload).decode())


def keys_of(
    received: Received[Any], payload: object, by: Sequence[str], action: str | None
) -> tuple[str, ...]:
    """The delivery key and, if there is one, the business key of a message.

    The business key is made of the fields `by` of the payload, or of the envelope's own key when
    no fields are named; and of `action`, or the message's type.

    Raises KeyFieldMissing, and SettingsError when fields are named and nothing says what is done.
    """
    delivery = delivery_key(received.id)
    key = received.key
    if by:
        key = _canonical({field: _key_field(payload, field, received.type) for field in by})
    if key is None:
        return (delivery,)
    action = action or received.type
    if action is None:
        raise SettingsError(
            f"The message {received.id} has no type, and its business key needs one, so that a"
            " charge and a refund of one order differ: name it with action=."
        )
    return (delivery, business_key(action, key))


def _key_field(payload: object, field: str, message_type: str | None) -> str | int:
    value = payload.get(field) if isinstance(payload, dict) else None
    if value is None or isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        found = "missing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
        raise KeyFieldMissing(
            f"The field {field!r} of the business key is {found} in a message of type"
            f" {message_type!r}; it must be a text that is not empty, or a whole number."
        )
    return value


def without(payload: object, ignore: Sequence[str]) -> object:
    """The payload without some of its fields, for its digest."""
    if not ignore or not isinstance(payload, dict):
        return payload
    return {name: value for name, value in payload.items() if name not in ignore}


def _loads(text: str) -> object:
    try:
        loaded: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return loaded


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
