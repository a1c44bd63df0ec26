"""The order of a standard queue: best effort, oldest visible first, and fair between tenants.

A message that comes back after a receive goes behind those that wait for their first, so that one
message that always fails does not hold up the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from forebay.broker.core.changes import PageRequest, QueueRecord
from forebay.broker.core.fair import FairOrder
from forebay.broker.core.message import Message
from forebay.broker.core.queue import Queue
from forebay.broker.core.window import Window


class StandardQueue(Queue):
    """At-least-once delivery in best-effort order."""

    def __init__(self, record: QueueRecord, window: Window) -> None:
        super().__init__(record, window)
        self._order = FairOrder()

    def has_ready(self) -> bool:
        return bool(self._order)

    def purge(self, floor_key: int) -> None:
        super().purge(floor_key)
        self._order.clear()

    def _ask_for_tenant(self, number: int, now_ms: int) -> PageRequest | None:
        if not self._order.lacks_quiet():
            return None
        return self.held.ask_for_tenant(number, now_ms, self._order.is_served)

    def _in_order(self, limit: int, now_ms: int) -> Iterator[Message]:
        return self._order.select(limit, now_ms)

    def _appear(self, message: Message) -> None:
        self._order.appear(message)

    def _vanish(self, message: Message) -> None:
        self._order.vanish(message)

    def _took_off(self, message: Message, now_ms: int) -> None:
        self._order.took_off(message, now_ms)

    def _landed(self, message: Message, now_ms: int) -> None:
        self._order.landed(message, now_ms)

    def _removed(self, message: Message) -> None:
        pass
