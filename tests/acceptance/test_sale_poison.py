"""Poison orders leave their section for the dead-letter queue, and take nobody with them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from forebay.apps.sale.domain import (
    ORDER_TYPE,
    Order,
    OrderStatus,
    Section,
    SectionKind,
    message_group,
)
from forebay.apps.sale.queues import DEAD_LETTER_QUEUES, ORDERS, declare_queues, messages_left
from forebay.apps.sale.readback import take_dead_letters
from forebay.apps.sale.sqlite_store import SqliteSaleStore
from forebay.apps.sale.workers import order_router
from forebay.broker.embedded import EmbeddedBroker
from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.producer import Producer
from forebay.worker import Worker, WorkerSettings

STALLS = Section("gala", "stalls", SectionKind.RESERVED, capacity=20)


def crash_on_poison(order: Order) -> None:
    if order.note == "POISON":
        raise RuntimeError("a bug")


def order(number: int, *, seat: int | None = None, note: str = "") -> Order:
    return Order(f"o{number}", "gala", "stalls", f"buyer-{number}", seat, note)


ALONE = [order(0, note="POISON")]
AMONG_OTHERS = [
    order(0),
    order(1, note="POISON"),
    order(2),
    order(3, seat=99),
    order(4),
    order(5, note="POISON"),
    order(6),
]


async def until_empty(client: SqsClient, queue_url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            if await messages_left(client, queue_url) == 0:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("orders", "poison"),
    [
        pytest.param(ALONE, {"o0"}, id="alone, by the redrive policy"),
        pytest.param(AMONG_OTHERS, {"o1", "o3", "o5"}, id="among others"),
    ],
)
async def test_poison_reaches_the_dead_letter_queue_and_the_others_are_decided_in_order(
    tmp_path: Path, orders: list[Order], poison: set[str]
) -> None:
    with EmbeddedBroker() as broker:
        store = await SqliteSaleStore.open(tmp_path / "sale.sqlite3")
        await store.open_sections([STALLS])
        async with HttpSqsClient(broker.endpoint_url) as client:
            queues = await declare_queues(client, visibility_timeout_s=5)
            async with Producer(client, queues[ORDERS], node="test") as producer:
                for each in orders:
                    await producer.publish(
                        ORDER_TYPE, each, group_id=message_group(each.event, each.section)
                    )
            worker = Worker(
                client,
                queues[ORDERS],
                order_router(store, before_deciding=crash_on_poison),
                settings=WorkerSettings(wait_s=1, visibility_timeout_s=5, backoff_max_s=1.0),
            )
            running = asyncio.create_task(worker.run())
            await until_empty(client, queues[ORDERS])
            worker.stop()
            ledger = await running
            assert ledger.balances
            assert await messages_left(client, queues[DEAD_LETTER_QUEUES[ORDERS]]) == len(poison)
            assert set(await take_dead_letters(client, queues, tmp_path)) == poison
        seats = []
        for each in orders:
            record = await store.find(each.order_id)
            assert record is not None
            if each.order_id in poison:
                assert record.status is OrderStatus.FAILED
            else:
                assert record.status is OrderStatus.CONFIRMED
                seats.append(record.seat)
        assert seats == list(range(1, len(seats) + 1))
        await store.close()
