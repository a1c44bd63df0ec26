"""The order of a standard queue: in which messages first became visible, and fair between tenants.

A message whose visibility timeout ends goes back to its place, ahead of what was sent after it. A
message that always fails is hidden in between and holds up nobody; one that is given back at once,
again and again, loses its place. So does one that is received with a visibility timeout of 0.
"""

from __future__ import annotations

from collections.abc import KeysView

from forebay.broker.core.changes import PageRequest, QueueRecord
from forebay.broker.core.fair import FairOrder
from forebay.broker.core.message import Message
from forebay.broker.core.queue import Queue
from forebay.broker.core.window import Window

#: Receives after which a message that is given back before its visibility timeout ended goes behind
#: those that are visible. AWS promises no order and publishes no such number.
PLACE_KEPT_RECEIVES = 10


class StandardQueue(Queue):
    """At-least-once delivery in best-effort order."""

    def __init__(self, record: QueueRecord, window: Window) -> None:
        self._fair = FairOrder()
        super().__init__(record, window, self._fair)

    @property
    def noisy_groups(self) -> KeysView[str]:
        """The message groups that take too large a share of the consumers now."""
        return self._fair.noisy

    def release(self, message: Message, now_ms: int) -> None:
        if message.receives_here > PLACE_KEPT_RECEIVES:
            message.turn = 0
        super().release(message, now_ms)

    def _ask_for_tenant(self, number: int, now_ms: int) -> PageRequest | None:
        if not self._fair.lacks_quiet():
            return None
        return self.held.ask_for_tenant(number, now_ms, self._fair.is_served)
