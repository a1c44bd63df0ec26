"""How a producer ends, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from forebay.errors import Closed, ForebayError
from forebay.producer import Producer
from forebay.producer.settings import ProducerSettings
from tests.runtime.producer_queue import (
    STANDARD,
    Sqs,
    account,
    after,
    first,
    producer,
    says_nothing,
    works,
)
from tests.runtime.virtual_time import run


def test_closing_sends_what_is_buffered_and_returns_the_ledger() -> None:
    async def main() -> None:
        it = producer(Sqs(after(1.0)), settings=ProducerSettings(concurrency=2))
        await it.start()
        for n in range(55):
            it.send("usage_log", n)
        assert account(await it.close()) == (55, 55, 0, 0, 0)

    run(main())


def test_closing_gives_up_at_its_deadline_and_counts_what_is_left() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        it = producer(Sqs(first(works, then=says_nothing)))
        await it.start()
        for n in range(15):
            it.send("usage_log", n)
        publishing = asyncio.create_task(it.publish("order", 1))
        await asyncio.sleep(0)
        began_s = loop.time()
        assert account(await it.close(drain_timeout_s=2)) == (16, 10, 0, 6, 0)
        assert loop.time() - began_s == pytest.approx(2)
        with pytest.raises(Closed, match="before SQS acknowledged"):
            await publishing

    run(main())


def test_a_closed_producer_accepts_nothing() -> None:
    async def main() -> None:
        sqs = Sqs()
        async with producer(sqs) as it:
            pass
        assert not it.send("usage_log", 1)
        with pytest.raises(Closed):
            await it.publish("usage_log", 1)
        with pytest.raises(Closed):
            await it.start()
        assert it.ledger.dropped["closed"] == 2
        assert account(await it.close()) == (2, 0, 2, 0, 0)

    run(main())


def test_a_producer_that_never_started_counts_what_it_held_as_failed() -> None:
    async def main() -> None:
        it = producer(Sqs())
        it.send("usage_log", 1)
        assert account(await it.close()) == (1, 0, 0, 1, 0)

    run(main())


def test_closing_twice_at_once_is_closing_once() -> None:
    async def main() -> None:
        it = producer(Sqs(after(1.0)))
        await it.start()
        it.send("usage_log", 1)
        ledgers = await asyncio.gather(it.close(), it.close())
        assert [account(ledger) for ledger in ledgers] == [(1, 1, 0, 0, 0)] * 2

    run(main())


def test_a_cancelled_close_still_ends_every_call() -> None:
    async def main() -> None:
        it = producer(Sqs(says_nothing))
        await it.start()
        it.send("usage_log", 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await it.close(drain_timeout_s=60)
        assert len(asyncio.all_tasks()) == 1

    run(main())


async def test_the_coroutines_are_refused_in_another_loop() -> None:
    calls: list[Callable[[Producer], Awaitable[object]]] = [
        lambda it: it.publish("click", 1),
        lambda it: it.flush(),
        lambda it: it.close(),
        lambda it: it.start(),
    ]

    async def elsewhere(call: Callable[[Producer], Awaitable[object]]) -> None:
        with pytest.raises(ForebayError, match="started in another event loop"):
            await call(it)

    async with Producer(Sqs(), STANDARD) as it:
        for call in calls:
            await asyncio.to_thread(asyncio.run, elsewhere(call))
        assert it.send("click", 2)
    assert account(it.ledger) == (1, 1, 0, 0, 0)
