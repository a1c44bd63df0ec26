from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import apsw
import pytest

from forebay.apps.sale.domain import (
    ORDER_TYPE,
    Decision,
    Order,
    OrderStatus,
    Section,
    SectionKind,
)
from forebay.apps.sale.sqlite_store import SqliteSaleStore
from forebay.apps.sale.store import Delivery, OrderRecord, SaleStore
from forebay.apps.sale.workers import order_router
from forebay.clock import ManualClock
from forebay.errors import StoreError
from forebay.worker import Reject
from tests.apps.deliveries import deliver

STALLS = Section("gala", "stalls", SectionKind.RESERVED, capacity=2)
ORDER = Order("o1", "gala", "stalls", "ada")


class Bug(Exception):
    """What nobody expected."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sale.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SaleStore]:
    opened = await SqliteSaleStore.open(path)
    await opened.open_sections([STALLS])
    yield opened
    await opened.close()


def crash(order: Order) -> None:
    raise Bug(order.order_id)


async def test_an_order_that_is_delivered_is_decided(store: SaleStore) -> None:
    await deliver(order_router(store), ORDER_TYPE, ORDER)
    assert await store.find("o1") == OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)


async def test_the_decision_log_says_which_message_was_answered(
    store: SaleStore, path: Path
) -> None:
    await deliver(order_router(store, clock=ManualClock(5_000)), ORDER_TYPE, ORDER)
    connection = apsw.Connection(str(path))
    assert connection.execute(
        "SELECT decision_number, order_id, outcome, seat, free, message_id, sequence_number,"
        " decided_at_ms FROM decisions"
    ).fetchall() == [(1, "o1", "CONFIRMED", 1, 2, "message-1", "18850000000000000042", 5_000)]
    connection.close()


async def test_a_redelivered_order_changes_nothing(store: SaleStore) -> None:
    router = order_router(store)
    for receive_count in (1, 2, 3):
        await deliver(router, ORDER_TYPE, ORDER, receive_count=receive_count)
    assert len(await store.unsent(10)) == 1


async def test_an_order_that_can_never_be_decided_is_rejected_at_once(store: SaleStore) -> None:
    impossible = Order("o1", "gala", "stalls", "ada", seat=9)
    with pytest.raises(Reject, match="seats 1 to 2, not 9"):
        await deliver(order_router(store), ORDER_TYPE, impossible)
    failed = await store.find("o1")
    assert failed is not None
    assert failed.status is OrderStatus.FAILED
    assert "seats 1 to 2, not 9" in str(failed.reason)


@pytest.mark.parametrize("payload", [{"order_id": "o1"}, {"event": 7}, [], "order"])
async def test_a_payload_that_is_no_order_is_rejected_at_once(
    store: SaleStore, payload: object
) -> None:
    with pytest.raises(Reject):
        await deliver(order_router(store), ORDER_TYPE, payload)


async def test_an_order_that_crashes_its_handler_may_be_tried_again(store: SaleStore) -> None:
    with pytest.raises(Bug):
        await deliver(order_router(store, before_deciding=crash), ORDER_TYPE, ORDER)
    assert await store.find("o1") is None
    await deliver(order_router(store), ORDER_TYPE, ORDER, receive_count=2)
    assert await store.find("o1") == OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)


async def test_an_order_that_crashes_at_its_last_receive_has_failed(store: SaleStore) -> None:
    router = order_router(store, before_deciding=crash, receives_max=3)
    with pytest.raises(Bug):
        await deliver(router, ORDER_TYPE, ORDER, receive_count=3)
    failed = await store.find("o1")
    assert failed is not None
    assert failed.status is OrderStatus.FAILED
    assert "Failed 3 times" in str(failed.reason)


async def test_an_order_that_was_decided_stays_decided_when_it_crashes_later(
    store: SaleStore,
) -> None:
    await deliver(order_router(store), ORDER_TYPE, ORDER)
    with pytest.raises(Bug):
        await deliver(
            order_router(store, before_deciding=crash), ORDER_TYPE, ORDER, receive_count=3
        )
    assert await store.find("o1") == OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)


class FullDisk:
    """An inventory whose disk is full until `room` is true."""

    def __init__(self, inventory: SaleStore) -> None:
        self._inventory = inventory
        self.failures = 0
        self.room = False

    async def open_sections(self, sections: Sequence[Section]) -> None:
        await self._inventory.open_sections(sections)

    async def sections(self) -> list[Section]:
        return await self._inventory.sections()

    async def decide(self, order: Order, delivery: Delivery, now_ms: int) -> Decision:
        if not self.room:
            self.failures += 1
            raise StoreError
        return await self._inventory.decide(order, delivery, now_ms)

    async def fail(self, order: Order, reason: str, now_ms: int) -> None:
        await self._inventory.fail(order, reason, now_ms)


async def test_a_store_that_is_away_costs_no_order_its_receives(store: SaleStore) -> None:
    clock, inventory = ManualClock(), FullDisk(store)
    deciding = asyncio.create_task(
        deliver(order_router(inventory, clock=clock), ORDER_TYPE, ORDER, receive_count=3)
    )
    while inventory.failures < 10:
        await asyncio.sleep(0)
        clock.advance(1_000)
    inventory.room = True
    while not deciding.done():
        await asyncio.sleep(0)
        clock.advance(1_000)
    await deciding
    assert await store.find("o1") == OrderRecord("o1", OrderStatus.CONFIRMED, seat=1)
