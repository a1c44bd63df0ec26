"""The order workers: each order that is received is decided, or goes where somebody can mend it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from forebay.apps.sale.domain import ORDER_TYPE, Order, OrderRefused
from forebay.apps.sale.queues import ORDER_RECEIVES_MAX
from forebay.apps.sale.store import Delivery, Inventory
from forebay.clock import Clock, SystemClock
from forebay.errors import StoreError
from forebay.worker import Received, Reject, Router

#: Pause before a store that failed is tried again, in seconds.
_STORE_PAUSE_S = 1.0

_log = logging.getLogger(__name__)


def _nothing(_: Order) -> None:
    """Called before each decision when nobody wants anything else."""


def order_router(
    inventory: Inventory,
    *,
    clock: Clock | None = None,
    before_deciding: Callable[[Order], None] = _nothing,
    receives_max: int = ORDER_RECEIVES_MAX,
) -> Router:
    """The handler of orders.

    An order that can never be decided is noted as failed and rejected at once. One whose handling
    crashes is tried again until its last receive, and is noted as failed then: from there the
    worker and the queue's redrive policy take it to the dead-letter queue.

    `before_deciding` is where a test or the demo puts a bug.
    """
    clock = clock or SystemClock()
    router = Router()

    @router.handler(ORDER_TYPE, Order)
    async def decide(received: Received[Order]) -> None:
        order = received.payload
        try:
            before_deciding(order)
            await _decide(inventory, order, _delivery(received), clock)
        except OrderRefused as refusal:
            await inventory.fail(order, str(refusal), clock.wall_ms())
            raise Reject(str(refusal)) from refusal
        except Exception as error:
            if received.receive_count >= receives_max:
                reason = f"Failed {received.receive_count} times, at last with: {error!r}"
                await inventory.fail(order, reason, clock.wall_ms())
            raise

    return router


async def _decide(inventory: Inventory, order: Order, delivery: Delivery, clock: Clock) -> None:
    """Decide an order, however long the store is away.

    That is not the order's fault. Giving it back would spend its receives, and in a few seconds of
    outage take every section's orders to the dead-letter queue. In hand its lease is extended, and
    a drain that has to end cancels this.
    """
    while True:
        try:
            await inventory.decide(order, delivery, clock.wall_ms())
        except StoreError as error:
            _log.error("order %s waits for the store: %s", order.order_id, error)
            await clock.sleep(_STORE_PAUSE_S)
        else:
            return


def _delivery(received: Received[Order]) -> Delivery:
    number = received.sequence_number
    return Delivery(received.message_id, None if number is None else f"{number:020}")
