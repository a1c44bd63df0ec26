"""From an HTTP request to an order: what is allowed, and what is said when it is not."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from forebay.apps.sale.domain import Order, Section, order_id
from forebay.errors import ForebayError

#: Longest Idempotency-Key, in characters. The usual limit of payment APIs.
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255

#: Largest body of a purchase request, in bytes. Far above what the fields below can need.
BODY_BYTES_MAX = 16_384


class PurchaseRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body of a purchase."""

    section: Annotated[str, Meta(min_length=1, max_length=60)]
    buyer: Annotated[str, Meta(min_length=1, max_length=128)]
    seat: Annotated[int, Meta(ge=1)] | None = None
    note: Annotated[str, Meta(max_length=500)] = ""


class RequestRefused(ForebayError):
    """The request cannot be taken as it is. Repeating it unchanged does not help."""

    def __init__(self, http_status: int, field: str, message: str) -> None:
        self.http_status = http_status
        self.field = field
        super().__init__(message)


_decode_purchase = msgspec.json.Decoder(PurchaseRequest).decode


def read_order(
    event: str, sections: dict[str, Section], idempotency_key: str | None, body: bytes
) -> Order:
    """The order that a request for `event` places.

    Raises RequestRefused, which names the field and its limit.
    """
    _check_key(idempotency_key)
    if not sections:
        raise RequestRefused(404, "event", f"There is no event {event!r} on sale.")
    try:
        purchase = _decode_purchase(body)
    except msgspec.ValidationError as error:
        raise RequestRefused(422, _field_of(error), f"{error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(
            400, "body", f"The body is not JSON: {error}. Send a JSON object."
        ) from error
    if purchase.section not in sections:
        raise RequestRefused(
            404,
            "section",
            f"Event {event!r} has no section {purchase.section!r}."
            f" It has: {', '.join(sorted(sections))}.",
        )
    return Order(
        order_id=order_id(event, str(idempotency_key)),
        event=event,
        section=purchase.section,
        buyer=purchase.buyer,
        seat=purchase.seat,
        note=purchase.note,
    )


def _check_key(key: str | None) -> None:
    if not key:
        raise RequestRefused(
            400,
            "Idempotency-Key",
            "The Idempotency-Key header is missing. Send one key for each purchase, the same"
            " one again with each retry.",
        )
    if len(key) > IDEMPOTENCY_KEY_CHARACTERS_MAX:
        raise RequestRefused(
            400,
            "Idempotency-Key",
            f"The Idempotency-Key has {len(key)} characters;"
            f" it may have {IDEMPOTENCY_KEY_CHARACTERS_MAX}.",
        )


def _field_of(error: msgspec.ValidationError) -> str:
    """The member that msgspec complains of: its text ends in "- at `$.seat`"."""
    _, found, path = str(error).rpartition("- at `$.")
    return path.rstrip("`") if found else "body"
