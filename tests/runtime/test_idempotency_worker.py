"""What the guard costs a worker in receives, on the broker's real engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from forebay.idempotency import Attempt, Guard, MemoryIdempotencyStore
from forebay.worker import Received, Router, Worker, WorkerSettings
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import envelope


class Shop:
    """Two workers that share a store, and effects that are counted."""

    def __init__(self, *, takes_s: float) -> None:
        self.client = EngineClient()
        self.takes_s = takes_s
        self.store = MemoryIdempotencyStore()
        self.performed: Counter[str] = Counter()
        self.receives: Counter[str] = Counter()

    async def sell(self, received: Received[dict[str, Any]]) -> None:
        self.receives[received.id] += 1

        async def effect(attempt: Attempt) -> None:
            await asyncio.sleep(self.takes_s)
            self.performed[attempt.key] += 1

        guard = Guard(self.store, clock=LoopClock())
        await guard.once(received, effect, by=("order_id",))

    async def open_for(self, duration_s: float, url: str) -> None:
        router = Router()
        router.handler("charge", dict[str, Any])(self.sell)
        workers = [
            Worker(
                self.client,
                url,
                router,
                settings=WorkerSettings(wait_s=1, visibility_timeout_s=30),
                clock=LoopClock(),
            )
            for _ in range(2)
        ]
        working = [asyncio.create_task(worker.run()) for worker in workers]
        await asyncio.sleep(duration_s)
        for worker in workers:
            worker.stop()
        await asyncio.gather(*working)


def test_every_order_that_came_twice_is_charged_once_with_one_receive_a_message() -> None:
    """A duplicate that had to be received again would be a dead letter here."""

    async def scenario() -> None:
        shop = Shop(takes_s=0.02)
        url = await shop.client.create("orders", max_receive_count=1)
        for number in range(60):
            for copy in ("a", "b"):
                body = envelope("charge", {"order_id": f"o-{number}"}, identifier=f"{number}{copy}")
                await shop.client.send(url, body)
        await shop.open_for(120, url)
        assert await shop.client.counts(url) == (0, 0)
        assert await shop.client.everything_in(url.replace("orders", "orders-dlq")) == []
        assert set(shop.performed.values()) == {1}
        assert len(shop.performed) == 60
        assert set(shop.receives.values()) == {1}

    run(scenario())


def test_the_duplicate_of_a_long_effect_is_received_a_few_times_only() -> None:
    async def scenario() -> None:
        shop = Shop(takes_s=120)
        url = await shop.client.create("orders", max_receive_count=30)
        for copy in ("a", "b"):
            await shop.client.send(url, envelope("charge", {"order_id": "o"}, identifier=copy))
        await shop.open_for(400, url)
        assert await shop.client.counts(url) == (0, 0)
        assert list(shop.performed.values()) == [1]
        assert min(shop.receives.values()) == 1
        assert max(shop.receives.values()) <= 12

    run(scenario())


def test_a_message_that_is_not_the_one_of_its_key_is_a_dead_letter_at_once() -> None:
    async def scenario() -> None:
        shop = Shop(takes_s=0)
        url = await shop.client.create("orders", max_receive_count=5)
        for copy, cents in (("a", 1), ("b", 2)):
            payload = {"order_id": "o", "cents": cents}
            await shop.client.send(url, envelope("charge", payload, identifier=copy))
        await shop.client.send(url, envelope("charge", {"cents": 3}, identifier="c"))
        await shop.open_for(60, url)
        dead = await shop.client.everything_in(url.replace("orders", "orders-dlq"))
        assert len(dead) == 2
        assert list(shop.performed.values()) == [1]
        assert set(shop.receives.values()) == {1}

    run(scenario())
