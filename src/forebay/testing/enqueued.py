"""What handlers sent, and looking for one message among it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import SequenceMatcher, unified_diff
from typing import Any

import msgspec
from msgspec import Struct

from forebay.messages.envelope import EnvelopeError, decode_envelope
from forebay.messages.packing import PACK_ATTRIBUTE, PackError, open_pack
from forebay.protocol.actions import (
    AnyRequest,
    MessageAttributes,
    MessageToSend,
    SendMessageBatchRequest,
    SendMessageRequest,
)

#: Most messages that a failure lists.
_LISTED_MAX = 10


class Enqueued(Struct, frozen=True, kw_only=True):
    """One message that was sent."""

    queue: str
    #: The envelope's type and key; None without an envelope. A pack has the type of its envelopes.
    type: str | None
    key: str | None
    #: The envelope's payload, or the body, as JSON has it; the text of a body that is no JSON; the
    #: list of a pack's payloads.
    payload: Any
    body: str
    group_id: str | None
    attributes: MessageAttributes

    def __str__(self) -> str:
        kind = "without an envelope" if self.type is None else repr(self.type)
        return f"{kind} to {self.queue}: {json.dumps(self.payload, sort_keys=True)}"


def enqueued(requests: Iterable[AnyRequest]) -> list[Enqueued]:
    """The messages in those requests that send, in order."""
    found: list[Enqueued] = []
    for request in requests:
        if isinstance(request, SendMessageRequest):
            found.append(_enqueued(request.queue_url, request))
        elif isinstance(request, SendMessageBatchRequest):
            found.extend(_enqueued(request.queue_url, entry) for entry in request.entries)
    return found


def plain(value: object) -> Any:
    """A payload as JSON has it: dicts, lists, strings and numbers. Raises TypeError for others."""
    return msgspec.to_builtins(value, enc_hook=_dumped)


def _dumped(value: object) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(
            f"An object of type {type(value).__name__} cannot be written as JSON. Use dicts, lists,"
            " strings, numbers, dates, dataclasses, msgspec structs or pydantic models."
        )
    return dump(mode="json")


def is_subset(expected: Any, found: Any) -> bool:
    """Whether all that is expected is there; objects may have other members as well."""
    if isinstance(expected, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and is_subset(value, found[key]) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(expected) == len(found)
            and all(map(is_subset, expected, found))
        )
    # To Python True is 1; to JSON it is not.
    return isinstance(expected, bool) is isinstance(found, bool) and bool(expected == found)


def not_enqueued(wanted: str, expected: Any, sent: Sequence[Enqueued]) -> str:
    """Why an assertion failed: what was sent instead, and how the nearest of it differs."""
    if not sent:
        return f"{wanted}, but nothing was enqueued at all."
    lines = [f"{wanted}. What was enqueued:"]
    lines += [f"  {each}" for each in sent[:_LISTED_MAX]]
    if len(sent) > _LISTED_MAX:
        lines.append(f"  and {len(sent) - _LISTED_MAX} more")
    if expected is not None:
        target = _pretty(expected)
        nearest = max(
            (_pretty(each.payload) for each in sent),
            key=lambda text: SequenceMatcher(None, target, text).ratio(),
        )
        if nearest != target:
            lines.append("The nearest payload differs so:")
        lines += unified_diff(
            target.splitlines(), nearest.splitlines(), "expected", "enqueued", lineterm=""
        )
    return "\n".join(lines)


def _enqueued(url: str, message: MessageToSend) -> Enqueued:
    attributes = message.message_attributes or {}
    message_type, key, payload = _content(message.message_body, attributes)
    return Enqueued(
        queue=url.rpartition("/")[2],
        type=message_type,
        key=key,
        payload=payload,
        body=message.message_body,
        group_id=message.message_group_id,
        attributes=attributes,
    )


def _content(body: str, attributes: MessageAttributes) -> tuple[str | None, str | None, Any]:
    """Type, key and payload."""
    pack = attributes.get(PACK_ATTRIBUTE)
    if pack is not None and pack.binary_value is not None:
        with suppress(PackError):
            opened = open_pack(body, pack.binary_value)
            payloads = [json.loads(line)[1] for line in opened.lines.split(b"\n")]
            return opened.header.type, None, payloads
    try:
        envelope = decode_envelope(body)
    except EnvelopeError:
        try:
            return None, None, json.loads(body)
        except ValueError:
            return None, None, body
    return envelope.type, envelope.key, json.loads(bytes(envelope.payload))


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
