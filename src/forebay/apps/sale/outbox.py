"""The relay: what the outbox holds reaches its queue, at least once."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from forebay.apps.sale.store import NOTIFICATION_TYPE, Outbox, OutboxRow
from forebay.clock import Clock, SystemClock
from forebay.errors import BufferFull, ServiceUnreachable, StoreError
from forebay.producer import Published
from forebay.protocol.errors import SqsError

#: Most rows read and published in one pass.
_ROWS_MAX = 500

#: Pause when the outbox is empty or the queue out of reach, in seconds. It is the most that a
#: notification waits for the relay to look.
_PAUSE_S = 0.05

_log = logging.getLogger(__name__)


class NotificationQueue(Protocol):
    """The acknowledged face of a Producer."""

    async def publish(
        self,
        type: str,  # noqa: A002
        payload: object,
        *,
        key: str | None = None,
    ) -> Published: ...


class OutboxRelay:
    """Publishes outbox rows in their order and marks each sent once the queue has it.

    A crash between the two publishes a row again; its key is the order's id, so whoever handles it
    can tell.
    """

    def __init__(
        self, outbox: Outbox, queue: NotificationQueue, *, clock: Clock | None = None
    ) -> None:
        self._outbox = outbox
        self._queue = queue
        self._clock = clock or SystemClock()
        self._stopping = False

    def stop(self) -> None:
        """Return from `run` after the pass in progress. What is left waits in the outbox."""
        self._stopping = True

    async def run(self) -> None:
        """Relay until stopped."""
        while not self._stopping:
            try:
                relayed = await self.relay()
            except StoreError as error:
                _log.error("the outbox cannot be relayed: %s", error)
                relayed = 0
            if relayed == 0:
                await self._clock.sleep(_PAUSE_S)

    async def relay(self) -> int:
        """Publish what is unsent, in one pass. Returns how many rows reached the queue."""
        rows = await self._outbox.unsent(_ROWS_MAX)
        reached = await asyncio.gather(*(self._publish(row) for row in rows))
        numbers = [row.number for row, sent in zip(rows, reached, strict=True) if sent]
        if numbers:
            await self._outbox.mark_sent(numbers, self._clock.wall_ms())
        return len(numbers)

    async def _publish(self, row: OutboxRow) -> bool:
        notification = row.notification
        try:
            await self._queue.publish(NOTIFICATION_TYPE, notification, key=notification.order_id)
        except (BufferFull, ServiceUnreachable, SqsError) as error:
            _log.warning("outbox row %d stays unsent: %s", row.number, error)
            return False
        return True
