"""The order workers: each order that is received is decided, or goes where somebody can mend it."""

from __future__ import annotations

from collections.abc import Callable

from forebay.apps.sale.domain import ORDER_TYPE, Order, OrderRefused
from forebay.apps.sale.queues import ORDER_RECEIVES_MAX
from forebay.apps.sale.store import Delivery, Inventory
from forebay.clock import Clock, SystemClock
from forebay.worker import Received, Reject, Router


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
            await inventory.decide(order, _delivery(received), clock.wall_ms())
        except OrderRefused as refusal:
            await inventory.fail(order, str(refusal), clock.wall_ms())
            raise Reject(str(refusal)) from refusal
        except Exception as error:
            if received.receive_count >= receives_max:
                reason = f"Failed {received.receive_count} times, at last with: {error!r}"
                await inventory.fail(order, reason, clock.wall_ms())
            raise

    return router


def _delivery(received: Received[Order]) -> Delivery:
    number = received.sequence_number
    return Delivery(received.message_id, None if number is None else f"{number:020}")
