"""What the outside service and its callers say to each other."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

#: One effect has one key. Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
KEY_HEADER = "Idempotency-Key"

#: Says that nothing was done for this request, because it was done before.
REPLAYED_HEADER = "Idempotency-Replayed"

#: The name of the process that asks, for the ledger.
CALLER_HEADER = "Caller"


class OutsideAnswer(Struct, frozen=True, kw_only=True):
    """What was done for a request."""

    #: The effect's number in the service's ledger.
    number: int
    #: When it was done, in milliseconds since the Unix epoch by the service's clock.
    at_ms: int
    action: str
    subject: str


class OutsideSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the service behaves."""

    #: How long each effect takes before it is done, in seconds.
    delay_s: Annotated[float, Meta(ge=0)] = 0.0
    #: Actions and subjects that are declined, with status 402.
    declines: tuple[str, ...] = ()


class Refusal(Struct, frozen=True):
    """Why a request was not done."""

    error: str
