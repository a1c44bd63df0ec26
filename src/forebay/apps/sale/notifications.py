"""Telling buyers: each decided order once, however often its message is delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import apsw

from forebay.apps.sale.store import NOTIFICATION_TYPE, Notification
from forebay.clock import Clock, SystemClock
from forebay.idempotency import (
    Attempt,
    Guard,
    SqliteIdempotencyStore,
    complete_in,
)
from forebay.idempotency.sqlite import create_tables
from forebay.sqlite import SharedWriter
from forebay.worker import Received, Router

#: The log's file in a data directory. The guard's leases are in it too.
NOTIFICATIONS_FILE = "notifications.sqlite3"

_SCHEMA = """
-- Every notification that went out, only appended to. The order id is not unique here on purpose: a
-- buyer who is told twice must show.
CREATE TABLE IF NOT EXISTS sent_notifications (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id   TEXT NOT NULL,
    buyer      TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    sent_at_ms INTEGER NOT NULL
) STRICT;
"""


class NotificationGateway(Protocol):
    """Whoever carries notifications to buyers."""

    async def send(self, notification: Notification, attempt: Attempt) -> None:
        """Tell the buyer, as the effect of an attempt of the guard.

        Raises LeaseLost when somebody else has taken the attempt over; then nobody was told.
        """
        ...


class SqliteNotificationLog:
    """A NotificationGateway that writes what it would send into the file of the guard's store.

    A notification and the mark that its key is done commit together: a crash leaves both or none.
    """

    def __init__(self, writer: SharedWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        #: The guard's leases, in the same file.
        self.leases = SqliteIdempotencyStore(writer)

    @classmethod
    async def open(cls, path: Path, *, clock: Clock | None = None) -> SqliteNotificationLog:
        """Open or create the file. Raises StoreError."""
        writer = await SharedWriter.open(path, _SCHEMA)
        await writer.run(create_tables)
        return cls(writer, clock or SystemClock())

    async def send(self, notification: Notification, attempt: Attempt) -> None:
        now_ms = self._clock.wall_ms()
        await self._writer.run(lambda connection: _send(connection, notification, attempt, now_ms))

    async def close(self) -> None:
        """Finish what was begun and close the file."""
        await self._writer.close()


def notification_router(gateway: NotificationGateway, guard: Guard) -> Router:
    """The handler of notifications.

    Their message may come again, and the outbox may publish one twice; the key that is guarded is
    that of the order, so neither tells a buyer twice.
    """
    router = Router()

    @router.handler(NOTIFICATION_TYPE, Notification)
    async def notify(received: Received[Notification]) -> None:
        notification = received.payload
        await guard.once(
            received, lambda attempt: gateway.send(notification, attempt), by=("order_id",)
        )

    return router


def _send(
    connection: apsw.Connection, notification: Notification, attempt: Attempt, now_ms: int
) -> None:
    connection.execute(
        "INSERT INTO sent_notifications (order_id, buyer, outcome, sent_at_ms) VALUES (?, ?, ?, ?)",
        (notification.order_id, notification.buyer, notification.outcome, now_ms),
    )
    complete_in(connection, attempt)
