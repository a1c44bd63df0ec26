"""What an order is and how it is decided. Pure: plain values in, a decision out."""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from uuid import UUID, uuid5

from msgspec import Struct

from forebay.errors import ForebayError

#: The namespace of order ids, so that they meet no other version 5 UUID.
_ORDER_NAMESPACE = UUID("5f0c7a4e-6f3b-5d86-9a53-0d1f6a2c9b17")

#: The envelope type of an order on its way to a worker.
ORDER_TYPE = "sale.order"

#: The note on an order that the demo's workers cannot handle.
BUG_MARKER = "POISON"


class SectionKind(StrEnum):
    """How the places of a section are sold."""

    #: Every seat is a thing of its own; a buyer may ask for one by number.
    RESERVED = "reserved"
    #: Places have no number; the section counts them.
    GENERAL = "general"


class Section(Struct, frozen=True):
    """A part of a venue that sells its places independently of the others.

    The seats of a reserved section are numbered from 1 to `capacity`.
    """

    event: str
    name: str
    kind: SectionKind
    capacity: int


class Order(Struct, frozen=True, omit_defaults=True):
    """One buyer's wish for one place. This is what travels to the workers."""

    order_id: str
    event: str
    section: str
    buyer: str
    #: The seat asked for; None takes the best one that is free.
    seat: int | None = None
    note: str = ""


class Outcome(StrEnum):
    """What a decision can be. Both are normal."""

    CONFIRMED = "CONFIRMED"
    SOLD_OUT = "SOLD_OUT"


class OrderStatus(StrEnum):
    """What a buyer is told."""

    #: Queued durably, not decided yet.
    RECEIVED = "RECEIVED"
    CONFIRMED = "CONFIRMED"
    SOLD_OUT = "SOLD_OUT"
    #: Could not be decided and lies in the dead-letter queue.
    FAILED = "FAILED"


class Decision(Struct, frozen=True):
    """The answer to an order. `seat` is None when sold out and in general admission."""

    outcome: Outcome
    seat: int | None = None


class Availability(Struct, frozen=True):
    """What a section still has to give at the moment of a decision."""

    free: int
    #: The lowest seat that is free; None in general admission and when there is none.
    best_seat: int | None = None
    #: Whether the seat that the order asks for is free. False when it asks for none.
    asked_seat_free: bool = False


class OrderRefused(ForebayError):
    """The order can never be decided, however often it is tried."""


SOLD_OUT = Decision(Outcome.SOLD_OUT)


def decide(
    order: Order,
    section: Section | None,
    availability: Availability,
    earlier: Decision | None,
) -> Decision:
    """Answer an order.

    An order that was decided before gets the same answer again, whatever has become of the section
    since: a redelivery after the buyer's own success is a success.

    Raises OrderRefused for what no retry can mend.
    """
    if earlier is not None:
        return earlier
    if section is None:
        raise OrderRefused(f"Event {order.event!r} has no section {order.section!r}.")
    if section.kind is SectionKind.GENERAL:
        if order.seat is not None:
            raise OrderRefused(
                f"Section {section.name!r} is general admission: its places have no numbers,"
                f" but seat {order.seat} was asked for."
            )
        return Decision(Outcome.CONFIRMED) if availability.free > 0 else SOLD_OUT
    if order.seat is not None and not 1 <= order.seat <= section.capacity:
        raise OrderRefused(
            f"Section {section.name!r} has seats 1 to {section.capacity}, not {order.seat}."
        )
    seat = order.seat if availability.asked_seat_free else None
    if order.seat is None:
        seat = availability.best_seat
    return SOLD_OUT if seat is None else Decision(Outcome.CONFIRMED, seat)


def order_id(event: str, idempotency_key: str) -> str:
    """The id of an order: the same for every click with the same key, in every process."""
    return str(uuid5(_ORDER_NAMESPACE, f"{event}\0{idempotency_key}"))


def message_group(event: str, section: str) -> str:
    """Orders of one section are decided in the order they came; sections run side by side."""
    return f"{event}#{section}"


def fingerprint(order: Order) -> str:
    """Tells a repeated request from another one that reuses its key."""
    wish = "\0".join((order.event, order.section, order.buyer, str(order.seat), order.note))
    return sha256(wish.encode()).hexdigest()
