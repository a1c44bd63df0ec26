from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.apps.sale.domain import Order, Section, SectionKind
from forebay.apps.sale.outbox import OutboxRelay
from forebay.apps.sale.sqlite_store import SqliteSaleStore
from forebay.apps.sale.store import NOTIFICATION_TYPE, Delivery, Notification, SaleStore
from forebay.clock import ManualClock
from forebay.errors import ServiceUnreachable
from forebay.producer import Published

LAWN = Section("gala", "lawn", SectionKind.GENERAL, capacity=2)


class FlakyQueue:
    """Takes notifications, except those of orders in `unreachable`."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.unreachable: set[str] = set()
        self.has_three = asyncio.Event()

    async def publish(
        self,
        type: str,  # noqa: A002
        payload: object,
        *,
        key: str | None = None,
    ) -> Published:
        assert type == NOTIFICATION_TYPE
        assert isinstance(payload, Notification)
        assert key == payload.order_id
        if key in self.unreachable:
            raise ServiceUnreachable
        self.taken.append(key)
        if len(self.taken) == 3:
            self.has_three.set()
        return Published("envelope", "message", None)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SaleStore]:
    opened = await SqliteSaleStore.open(tmp_path / "sale.sqlite3")
    await opened.open_sections([LAWN])
    for number in range(3):
        order = Order(f"o{number}", "gala", "lawn", f"buyer-{number}")
        await opened.decide(order, Delivery("m", None), now_ms=1)
    yield opened
    await opened.close()


async def test_what_the_outbox_holds_is_published_once(store: SaleStore) -> None:
    queue = FlakyQueue()
    relay = OutboxRelay(store, queue, clock=ManualClock())
    assert await relay.relay() == 3
    assert await relay.relay() == 0
    assert queue.taken == ["o0", "o1", "o2"]


async def test_what_cannot_be_published_stays_in_the_outbox(store: SaleStore) -> None:
    queue = FlakyQueue()
    queue.unreachable = {"o1"}
    relay = OutboxRelay(store, queue, clock=ManualClock())
    assert await relay.relay() == 2
    assert [row.notification.order_id for row in await store.unsent(10)] == ["o1"]
    queue.unreachable.clear()
    assert await relay.relay() == 1
    assert queue.taken == ["o0", "o2", "o1"]


async def test_a_crash_before_the_mark_publishes_again(store: SaleStore) -> None:
    queue = FlakyQueue()
    rows = await store.unsent(1)
    await queue.publish(NOTIFICATION_TYPE, rows[0].notification, key="o0")
    await OutboxRelay(store, queue, clock=ManualClock()).relay()
    assert queue.taken == ["o0", "o0", "o1", "o2"]


async def test_it_runs_until_it_is_stopped(store: SaleStore) -> None:
    queue, clock = FlakyQueue(), ManualClock()
    relay = OutboxRelay(store, queue, clock=clock)
    running = asyncio.create_task(relay.run())
    await queue.has_three.wait()
    relay.stop()
    while not running.done():
        clock.advance(1_000)
        await asyncio.sleep(0)
    assert await store.unsent(10) == []
