"""What a message says of itself: its id, its fields, what is to be done."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from forebay.idempotency.keys import wire_payload
from forebay.worker import Received

#: What is done where neither the payload nor the envelope says it.
ACTION_DEFAULT = "effect"


class Delivery(Struct, frozen=True):
    """One receive of a message."""

    #: Under the message's own id.
    received: Received[str]
    #: The payload. What is no JSON object is the field `raw` of one.
    fields: dict[str, Any]

    @property
    def id(self) -> str:
        return self.received.id

    @property
    def action(self) -> str:
        """What is to be done: the payload's `action`, else the type of message."""
        action = self.fields.get("action")
        if isinstance(action, str) and action:
            return action
        return self.received.type or ACTION_DEFAULT

    def has_key(self, field: str) -> bool:
        """Whether a field names a business fact: it is a text that is not empty, or a number."""
        value = self.fields.get(field)
        return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def delivery_of(received: Received[str]) -> Delivery:
    """Read a message. Its id is the envelope's, the payload's field `id`, or else SQS's."""
    payload = wire_payload(received)
    fields = payload if isinstance(payload, dict) else {"raw": payload}
    if received.envelope is None:
        own = fields.get("id")
        if isinstance(own, str | int) and not isinstance(own, bool) and own != "":
            received = replace(received, id=str(own))
    return Delivery(received, fields)
