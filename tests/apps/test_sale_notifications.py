from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from forebay.apps.sale.notifications import SqliteNotificationLog, notification_router
from forebay.apps.sale.store import NOTIFICATION_TYPE, Notification
from forebay.clock import ManualClock
from forebay.idempotency import (
    Attempt,
    Guard,
    LeaseLost,
    Started,
    business_key,
)
from forebay.idempotency.store_time import StoreTime
from forebay.worker import Retry, Router
from tests.apps.deliveries import deliver

NOTIFICATION = Notification("o1", "ada", "gala", "stalls", "CONFIRMED", seat=1)
LEASE_MS = 30_000


class Office:
    """A gateway and the leases beside it, as one process has them."""

    def __init__(self, path: Path, gateway: SqliteNotificationLog) -> None:
        self.path = path
        self.gateway = gateway
        self.leases = gateway.leases
        self.clock = ManualClock()

    def router(self) -> Router:
        return notification_router(
            self.gateway, Guard(self.leases, clock=self.clock, lease_ms=LEASE_MS, wait_ms=0)
        )

    async def begin(self) -> Attempt:
        """Take the lease of the notification and go no further, as a process that dies."""
        keys = (business_key(NOTIFICATION_TYPE, '{"order_id":"o1"}'),)
        beginning = await self.leases.begin(keys, LEASE_MS, self.clock.wall_ms())
        assert isinstance(beginning, Started)
        until_ms = self.clock.wall_ms() + LEASE_MS
        time = StoreTime(self.leases, self.clock)
        return Attempt(keys, beginning.token, clock=self.clock, time=time, until_ms=until_ms)

    def told(self) -> list[str]:
        """The order of each notification that went out."""
        with closing(apsw.Connection(str(self.path))) as other_process:
            rows = other_process.execute("SELECT order_id FROM sent_notifications").fetchall()
        return [str(order_id) for (order_id,) in rows]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    path = tmp_path / "notifications.sqlite3"
    gateway = await SqliteNotificationLog.open(path)
    yield Office(path, gateway)
    await gateway.close()


async def test_a_buyer_is_told_once_however_often_the_message_comes(office: Office) -> None:
    for receive_count in (1, 2, 3):
        await deliver(office.router(), NOTIFICATION_TYPE, NOTIFICATION, receive_count=receive_count)
    assert office.told() == ["o1"]


async def test_a_buyer_is_told_once_although_the_outbox_published_twice(office: Office) -> None:
    for envelope_id in ("first", "second"):
        await deliver(office.router(), NOTIFICATION_TYPE, NOTIFICATION, envelope_id=envelope_id)
    assert office.told() == ["o1"]


async def test_two_workers_with_the_same_message_tell_once(office: Office) -> None:
    results = await asyncio.gather(
        *(deliver(office.router(), NOTIFICATION_TYPE, NOTIFICATION) for _ in range(10)),
        return_exceptions=True,
    )
    assert {type(result) for result in results} <= {type(None), Retry}
    assert office.told() == ["o1"]


async def test_while_another_worker_is_at_it_the_message_waits(office: Office) -> None:
    await office.begin()
    office.clock.advance(LEASE_MS // 2)
    with pytest.raises(Retry) as retry:
        await deliver(office.router(), NOTIFICATION_TYPE, NOTIFICATION)
    assert retry.value.delay_s == LEASE_MS / 2 / 1000
    assert office.told() == []


async def test_a_worker_that_died_before_it_told_leaves_it_to_the_next(office: Office) -> None:
    await office.begin()
    office.clock.advance(LEASE_MS)
    await deliver(office.router(), NOTIFICATION_TYPE, NOTIFICATION)
    assert office.told() == ["o1"]


async def test_a_worker_that_died_after_it_told_leaves_nothing_to_the_next(
    office: Office,
) -> None:
    attempt = await office.begin()
    await office.gateway.send(NOTIFICATION, attempt)
    office.clock.advance(LEASE_MS)
    await deliver(office.router(), NOTIFICATION_TYPE, NOTIFICATION)
    assert office.told() == ["o1"]


async def test_a_worker_whose_lease_was_taken_over_tells_nobody(office: Office) -> None:
    late = await office.begin()
    office.clock.advance(LEASE_MS)
    await office.begin()
    with pytest.raises(LeaseLost):
        await office.gateway.send(NOTIFICATION, late)
    assert office.told() == []
