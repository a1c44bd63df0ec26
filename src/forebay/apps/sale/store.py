"""What the sale must remember, and what each act on it promises.

Every act raises StoreError when the store cannot be read or written. An act that was to change
something may have done so then, and may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from forebay.apps.sale.domain import Decision, Order, OrderStatus, Section

#: The envelope type of a Notification.
NOTIFICATION_TYPE = "sale.notification"


class Arrival(Struct, frozen=True):
    """A purchase request as it came in."""

    order: Order
    fingerprint: str
    #: Wall time, milliseconds since the Unix epoch.
    arrived_at_ms: int


class Queued(Struct, frozen=True):
    """The queue's word that it has an order."""

    message_id: str
    #: None from a queue that is not FIFO.
    sequence_number: str | None


class OrderRecord(Struct, frozen=True, omit_defaults=True):
    """What a buyer may know of an order."""

    order_id: str
    status: OrderStatus
    #: The seat that a confirmed order has; None in general admission.
    seat: int | None = None
    #: Why the order failed.
    reason: str | None = None


class Unqueued(Struct, frozen=True):
    """The key is new, or an earlier try with it was never acknowledged: queue the order."""


class AlreadyAccepted(Struct, frozen=True):
    """The order was accepted before; there is nothing to queue."""

    record: OrderRecord


class OtherRequest(Struct, frozen=True):
    """The key belongs to a request that asked for something else."""


class Delivery(Struct, frozen=True):
    """Which message a decision answers."""

    message_id: str
    sequence_number: str | None


class Notification(Struct, frozen=True):
    """What a buyer is to be told: one for each decided order."""

    order_id: str
    buyer: str
    event: str
    section: str
    outcome: str
    seat: int | None = None


class OutboxRow(Struct, frozen=True):
    """A notification that has to reach its queue."""

    number: int
    notification: Notification


class OrderBook(Protocol):
    """What the API knows of orders. Safe across processes; every answer is durable."""

    async def claim(self, arrival: Arrival) -> Unqueued | AlreadyAccepted | OtherRequest:
        """Give the order's id to the first request that comes with it.

        Later requests with the same fingerprint share it, others get OtherRequest. When the order
        was accepted or decided before, this counts as one more acceptance of it.
        """
        ...

    async def accept(self, order_id: str, queued: Queued, now_ms: int) -> None:
        """Note that the queue has the order. The first note stays; each counts as an acceptance."""
        ...

    async def find(self, order_id: str) -> OrderRecord | None:
        """What became of an order; None when it was never accepted.

        A decision counts even before the acceptance is noted.
        """
        ...


class Inventory(Protocol):
    """Who has which place. Safe across processes; every answer is durable."""

    async def open_sections(self, sections: Sequence[Section]) -> None:
        """Put sections on sale. Those that are on sale already stay as they are."""
        ...

    async def sections(self) -> list[Section]:
        """All that is or was on sale."""
        ...

    async def decide(self, order: Order, delivery: Delivery, now_ms: int) -> Decision:
        """Decide an order by `domain.decide`.

        The seat or the counter, the order's row, the decision log and the outbox change in one
        transaction or not at all, and decisions happen one after another. An order that was decided
        before gets the same answer and nothing changes. An order that failed before may be decided:
        somebody mended what was wrong and sent it again.

        Raises OrderRefused; then nothing has changed.
        """
        ...

    async def fail(self, order: Order, reason: str, now_ms: int) -> None:
        """Note that an order goes to the dead-letter queue. A decided order stays decided."""
        ...


class Outbox(Protocol):
    """Notifications that were decided on together with their orders."""

    async def unsent(self, limit: int) -> list[OutboxRow]:
        """The oldest rows that nobody has marked sent, oldest first."""
        ...

    async def mark_sent(self, numbers: Sequence[int], now_ms: int) -> None:
        """Note that these rows have reached their queue."""
        ...


class SaleStore(OrderBook, Inventory, Outbox, Protocol):
    """Everything the sale remembers."""

    async def close(self) -> None:
        """Finish what was begun and let go of the store."""
        ...
