"""The sale's API while the broker is away, and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from starlette.applications import Starlette

from forebay.apps.sale.api import SaleApi
from forebay.apps.sale.domain import Section, SectionKind
from forebay.apps.sale.queues import ORDERS, USAGE_LOGS, declare_queues, messages_left
from forebay.apps.sale.sqlite_store import SqliteSaleStore
from forebay.broker.embedded import EmbeddedBroker
from forebay.client.http import HttpSqsClient
from forebay.client.retry import RetryPolicy
from forebay.producer import Producer
from tests.apps.asgi import Answer, ask

STALLS = Section("gala", "stalls", SectionKind.RESERVED, capacity=5)

IMPATIENT = RetryPolicy(base_delay_ms=10, max_delay_ms=20, deadline_ms=100)


class Shop:
    """A broker that can go away, and the API in front of it."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "broker"
        self.broker = EmbeddedBroker(self._data)
        self.broker.start()
        self.endpoint_url = self.broker.endpoint_url
        self.application: Starlette | None = None

    def lose_broker(self) -> None:
        self.broker.stop()

    def bring_broker_back(self) -> None:
        port = int(self.endpoint_url.rpartition(":")[2])
        self.broker = EmbeddedBroker(self._data, port=port)
        self.broker.start()

    async def buy(self, key: str) -> Answer:
        assert self.application is not None
        body = msgspec.json.encode({"section": "stalls", "buyer": "ada"})
        headers = {"Idempotency-Key": key}
        return await ask(
            self.application, "POST", "/events/gala/orders", headers=headers, body=body
        )


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path)
    store = await SqliteSaleStore.open(tmp_path / "sale.sqlite3")
    async with HttpSqsClient(shop.endpoint_url) as client:
        queues = await declare_queues(client)
        async with (
            Producer(client, queues[ORDERS], node="api-1", retry=IMPATIENT) as orders,
            Producer(client, queues[USAGE_LOGS], node="api-1", packed=()) as usage,
        ):
            shop.application = SaleApi(store, orders, usage, [STALLS]).application()
            yield shop
    await store.close()
    shop.broker.stop()


async def messages(shop: Shop, queue: str) -> int:
    async with HttpSqsClient(shop.endpoint_url) as client:
        return await messages_left(client, (await declare_queues(client))[queue])


async def test_a_buyer_during_an_outage_is_told_to_come_again_and_then_accepted_once(
    shop: Shop,
) -> None:
    assert (await shop.buy("before")).status == 202
    shop.lose_broker()
    refused = await shop.buy("during")
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    assert "The order queue cannot be reached" in refused.json()["error"]
    shop.bring_broker_back()
    assert [(await shop.buy("during")).status for _ in range(2)] == [202, 202]
    assert (await shop.buy("before")).status == 202
    assert await messages(shop, ORDERS) == 2


async def test_usage_logs_of_an_outage_arrive_after_it(shop: Shop) -> None:
    shop.lose_broker()
    for number in range(5):
        assert (await shop.buy(f"during-{number}")).status == 503
    shop.bring_broker_back()
    assert (await shop.buy("after")).status == 202
    async with asyncio.timeout(20):
        while True:
            if await messages(shop, USAGE_LOGS) == 6:
                return
            await asyncio.sleep(0.02)
