"""Leases on the broker's real engine: what a queue says, what restarts and trouble cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from forebay.errors import NoCredentials
from forebay.protocol.actions import (
    AnyRequest,
    ChangeMessageVisibilityBatchRequest,
    DeleteMessageBatchRequest,
    SendMessageRequest,
)
from forebay.protocol.rejection import REASON_ATTRIBUTE
from forebay.worker import Received, Reject, Router, Worker, WorkerLedger, WorkerSettings
from forebay.worker.queue import Queue
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import START_S, LoopClock, block, run


@asynccontextmanager
async def working(
    client: EngineClient,
    queue: Queue,
    handler: Callable[[Received[str]], Awaitable[None]],
    **settings: float,
) -> AsyncIterator[Worker]:
    """A running worker that has drained by the end of the block."""
    router = Router()
    router.default(handler)
    worker = Worker(
        client,
        queue,
        router,
        settings=WorkerSettings(**settings),  # type: ignore[arg-type]
        clock=LoopClock(),
    )
    task = asyncio.create_task(worker.run())
    yield worker
    worker.stop()
    await task
    assert worker.ledger.in_hand == 0
    assert worker.ledger.balances


def now_s() -> float:
    return asyncio.get_running_loop().time() - START_S


def test_a_queue_s_own_visibility_timeout_spares_extensions() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs", VisibilityTimeout=300)
        await client.send(url, "m")

        async def handle(received: Received[str]) -> None:
            await asyncio.sleep(100)

        async with working(client, Queue("jobs"), handle) as worker:
            await asyncio.sleep(110)
        assert worker.ledger == WorkerLedger(received=1, acked=1)
        assert client.count(ChangeMessageVisibilityBatchRequest) == 0

    run(scenario())


def test_a_job_of_two_hours_is_kept_with_tens_of_calls_and_nobody_else_gets_it() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs", VisibilityTimeout=30)
        await client.send(url, "m")
        seen: list[tuple[int, bool]] = []

        async def handle(received: Received[str]) -> None:
            await asyncio.sleep(7_200)
            seen.append((received.receive_count, received.lease_lost))

        async with (
            working(client, Queue("jobs"), handle, wait_s=20, attributes_interval_s=3_600) as one,
            working(client, Queue("jobs"), handle, wait_s=20, attributes_interval_s=3_600) as two,
        ):
            await asyncio.sleep(7_210)
        assert seen == [(1, False)]
        assert one.ledger + two.ledger == WorkerLedger(received=1, acked=1)
        assert client.count(ChangeMessageVisibilityBatchRequest) <= 50

    run(scenario())


def test_restarts_are_no_failures_and_cost_no_visibility_timeout() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs", VisibilityTimeout=600, max_receive_count=20)
        await client.send(url, "m")
        began_s: list[float] = []
        fails = False

        async def handle(received: Received[str]) -> None:
            began_s.append(now_s())
            if fails:
                raise ValueError("bank")
            await asyncio.sleep(60)

        queue = Queue("jobs", failures_max=2)
        for restart in range(6):
            async with working(client, queue, handle, drain_timeout_s=0, wait_s=1) as worker:
                await asyncio.sleep(1)
            assert worker.ledger == WorkerLedger(received=1, released=1)
            assert len(began_s) == restart + 1
            assert await client.counts(url) == (1, 0)
        fails = True
        async with working(client, queue, handle, wait_s=1, backoff_max_s=5) as worker:
            await asyncio.sleep(20)
        assert worker.ledger == WorkerLedger(received=2, retried=1, rejected=1)
        (dead,) = await client.everything_in(f"{url}-dlq")
        attributes = dead.message_attributes or {}
        assert attributes[REASON_ATTRIBUTE].string_value == "Failure 2 of 2: ValueError: bank"

    run(scenario())


def test_trouble_of_the_client_cuts_off_no_handler_and_loses_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs", VisibilityTimeout=30, max_receive_count=5)
        for body in ("good", "bad", "slow"):
            await client.send(url, body)
        done: list[str] = []

        async def handle(received: Received[str]) -> None:
            if received.body == "bad":
                raise Reject("no such seat")
            await asyncio.sleep(40 if received.body == "slow" else 0)
            done.append(received.body)

        def trouble(request: AnyRequest) -> None:
            background = (
                DeleteMessageBatchRequest | ChangeMessageVisibilityBatchRequest | SendMessageRequest
            )
            if now_s() < 20 and isinstance(request, background):
                raise NoCredentials if now_s() < 10 else ZeroDivisionError("a bug of the client")

        async with working(client, Queue("jobs"), handle) as worker:
            client.before = trouble
            await asyncio.sleep(60)
        assert sorted(done) == ["good", "slow"]
        assert (worker.ledger.acked, worker.ledger.rejected, worker.ledger.lost) == (2, 1, 0)
        assert await client.counts(url) == (0, 0)

    run(scenario())
    assert caplog.text.count("Changing the visibility of messages of") == 2


def test_a_handler_that_holds_up_the_loop_finds_its_lease_lost_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs", VisibilityTimeout=5)
        await client.send(url, "m")
        lost: list[bool] = []

        async def handle(received: Received[str]) -> None:
            if received.receive_count == 1:
                block(6)
            lost.append(received.lease_lost)

        async with working(client, Queue("jobs"), handle) as worker:
            await asyncio.sleep(10)
        assert lost[0]
        # On a standard queue the old handle still deletes.
        assert worker.ledger.acked >= 1

    run(scenario())
    assert caplog.text.count("The event loop was held up for") == 1
