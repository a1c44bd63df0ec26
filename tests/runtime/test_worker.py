"""The worker on the broker's real engine, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from forebay.errors import Closed, ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    ChangeMessageVisibilityBatchRequest,
    DeleteMessageBatchRequest,
    GetQueueUrlRequest,
    SendMessageRequest,
)
from forebay.worker import (
    Queue,
    Received,
    Reject,
    Retry,
    Router,
    Worker,
    WorkerLedger,
    WorkerSettings,
)
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import START_S, LoopClock, run

TextHandler = Callable[[Received[str]], Awaitable[None]]


@asynccontextmanager
async def working(
    client: EngineClient,
    url: str,
    handler: TextHandler,
    *,
    settings: WorkerSettings | None = None,
    dead_letter_queue_url: str | None = None,
) -> AsyncIterator[Worker]:
    """A running worker that has drained by the end of the block."""
    router = Router()
    router.default(handler)
    queue = Queue(url, dead_letter_queue=dead_letter_queue_url)
    worker = Worker(client, queue, router, settings=settings, clock=LoopClock())
    task = asyncio.create_task(worker.run())
    yield worker
    worker.stop()
    await task
    assert worker.ledger.in_hand == 0
    assert worker.ledger.balances


def elapsed_s() -> float:
    return asyncio.get_running_loop().time() - START_S


def dlq_of(url: str) -> str:
    return url.replace(".fifo", "-dlq.fifo") if url.endswith(".fifo") else f"{url}-dlq"


def test_messages_are_handled_and_deleted_in_few_calls() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        for number in range(200):
            await client.send(url, str(number))
        handled = []

        async def handle(received: Received[str]) -> None:
            handled.append(int(received.payload))

        async with working(client, url, handle) as worker:
            await asyncio.sleep(5)
        assert sorted(handled) == list(range(200))
        assert worker.ledger == WorkerLedger(received=200, acked=200)
        assert client.count(DeleteMessageBatchRequest) == 20
        assert await client.counts(url) == (0, 0)

    run(scenario())


def test_a_worker_says_where_it_is_at_work(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(received: Received[str]) -> None: ...

    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        async with working(client, url, handle):
            await asyncio.sleep(1)
        assert f"The worker is at work on {url}\n" in caplog.text

    caplog.set_level(logging.INFO, logger="forebay")
    run(scenario())


def test_as_many_handlers_run_at_once_as_are_allowed() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        for number in range(100):
            await client.send(url, str(number))
        running, most = 0, 0

        async def handle(received: Received[str]) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1

        settings = WorkerSettings(concurrency=25, concurrency_min=25)
        async with working(client, url, handle, settings=settings) as worker:
            await asyncio.sleep(4.1)
            # 100 messages of a second each, 25 at a time, and next to nothing between them.
            assert worker.ledger == WorkerLedger(received=100, acked=100)
        assert most == 25

    run(scenario())


def test_a_slow_handler_and_what_waits_for_it_stay_hidden() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        for number in range(3):
            await client.send(url, str(number))
        handled = []

        async def handle(received: Received[str]) -> None:
            await asyncio.sleep(100)
            handled.append((received.payload, received.receive_count, received.lease_lost))

        settings = WorkerSettings(concurrency=1, visibility_timeout_s=30)
        async with working(client, url, handle, settings=settings) as worker:
            await asyncio.sleep(310)
        assert handled == [("0", 1, False), ("1", 1, False), ("2", 1, False)]
        assert worker.ledger == WorkerLedger(received=3, acked=3)

    run(scenario())


def test_a_plain_function_runs_in_the_executor() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        await client.send(url, "m")
        router = Router()
        threads = []
        loop, handled = asyncio.get_running_loop(), asyncio.Event()

        @router.default
        def handle(received: Received[str]) -> None:
            threads.append(threading.current_thread().name)
            loop.call_soon_threadsafe(handled.set)

        with ThreadPoolExecutor(1, thread_name_prefix="handlers") as executor:
            worker = Worker(client, url, router, clock=LoopClock(), executor=executor)
            task = asyncio.create_task(worker.run())
            await handled.wait()
            worker.stop()
            await task
        assert threads == ["handlers_0"]

    run(scenario())


def test_a_worker_runs_once() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        worker = Worker(client, url, Router(), clock=LoopClock())
        worker.stop()
        await worker.run()
        with pytest.raises(Closed):
            await worker.run()

    run(scenario())


@pytest.mark.parametrize("name", ["jobs", "orders.fifo"])
def test_a_rejected_message_goes_to_the_dead_letter_queue_and_the_next_goes_on(name: str) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create(name, max_receive_count=5)
        for body in ("bad", "good"):
            await client.send(url, body, "g")
        handled = []

        async def handle(received: Received[str]) -> None:
            if received.payload == "bad":
                raise Reject("no such seat")
            handled.append(received.payload)

        async with working(client, url, handle) as worker:
            await asyncio.sleep(5)
        assert handled == ["good"]
        assert worker.ledger == WorkerLedger(received=2, acked=1, rejected=1)
        (copy,) = await client.everything_in(dlq_of(url))
        attributes = copy.message_attributes or {}
        assert copy.body == "bad"
        assert (copy.attributes or {})["MessageGroupId"] == "g"
        assert attributes["ForebayRejectReason"].string_value == "no such seat"
        assert (attributes["ForebaySourceArn"].string_value or "").endswith(name)

    run(scenario())


def test_a_crash_between_copy_and_deletion_makes_no_second_copy_on_a_fifo_queue() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("orders.fifo", max_receive_count=5)
        await client.send(url, "bad", "g")

        async def handle(received: Received[str]) -> None:
            raise Reject("no such seat")

        crash = WorkerSettings(visibility_timeout_s=10, drain_timeout_s=0)

        def lose_deletions(request: AnyRequest) -> None:
            if isinstance(request, DeleteMessageBatchRequest):
                raise ServiceUnreachable

        client.before = lose_deletions
        async with working(client, url, handle, settings=crash) as first:
            await asyncio.sleep(1)
        assert first.ledger == WorkerLedger(received=1, lost=1)
        client.before = lambda request: None
        async with working(client, url, handle, settings=crash) as second:
            await asyncio.sleep(15)
        assert second.ledger == WorkerLedger(received=1, rejected=1)
        assert len(await client.everything_in(dlq_of(url))) == 1

    run(scenario())


def test_without_a_dead_letter_queue_a_rejected_message_stays_and_each_time_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        await client.send(url, "bad")

        async def handle(received: Received[str]) -> None:
            raise Reject(f"never, at receive {received.receive_count}")

        async with working(client, url, handle) as worker:
            await asyncio.sleep(20)
        assert worker.ledger.rejected == 0
        assert worker.ledger.retried >= 3
        assert await client.counts(url) == (0, 1)

    run(scenario())
    for receive in (1, 2, 3):
        assert f"has nowhere to go: never, at receive {receive}." in caplog.text
    assert "Give the queue a RedrivePolicy" in caplog.text


def test_a_copy_that_cannot_be_made_is_tried_again_later() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs", max_receive_count=5)
        await client.send(url, "bad")
        outages = 2

        def outage(request: AnyRequest) -> None:
            nonlocal outages
            if outages and isinstance(request, SendMessageRequest | GetQueueUrlRequest):
                outages -= 1
                raise ServiceUnreachable

        client.before = outage

        async def handle(received: Received[str]) -> None:
            raise Reject("never")

        async with working(client, url, handle) as worker:
            await asyncio.sleep(20)
        assert worker.ledger == WorkerLedger(received=3, retried=2, rejected=1)

    run(scenario())


def test_a_failure_comes_back_ever_later_and_at_last_the_queue_moves_it_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs", max_receive_count=4)
        await client.send(url, "bad")
        attempts_s = []

        async def handle(received: Received[str]) -> None:
            attempts_s.append(elapsed_s())
            raise ValueError("cannot reach the bank")

        settings = WorkerSettings(backoff_base_s=2)
        async with working(client, url, handle, settings=settings) as worker:
            await asyncio.sleep(60)
        gaps_s = [later - sooner for sooner, later in itertools.pairwise(attempts_s)]
        assert [gaps_s[0] <= 2.1, gaps_s[1] <= 4.1, gaps_s[2] <= 8.1] == [True] * 3
        assert worker.ledger == WorkerLedger(received=4, retried=4)
        (dead,) = await client.everything_in(dlq_of(url))
        assert dead.body == "bad"

    run(scenario())
    assert caplog.text.count("ValueError: cannot reach the bank") == 4


def test_retry_comes_back_after_the_time_that_the_handler_asked_for() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        await client.send(url, "m")
        attempts_s = []

        async def handle(received: Received[str]) -> None:
            attempts_s.append(elapsed_s())
            if len(attempts_s) == 1:
                raise Retry(6.4)

        async with working(client, url, handle) as worker:
            await asyncio.sleep(20)
        assert attempts_s[1] - attempts_s[0] == pytest.approx(7, abs=0.1)
        assert worker.ledger == WorkerLedger(received=2, retried=1, acked=1)

    run(scenario())


def test_a_handler_that_something_else_cancels_has_failed() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        await client.send(url, "m")
        attempts = 0

        async def handle(received: Received[str]) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise asyncio.CancelledError

        async with working(client, url, handle) as worker:
            await asyncio.sleep(5)
        assert worker.ledger == WorkerLedger(received=2, retried=1, acked=1)

    run(scenario())


def test_a_failure_holds_up_its_own_group_only_and_order_is_kept() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("orders.fifo")
        for number in range(1, 5):
            await client.send(url, f"x{number}", "x")
            await client.send(url, f"y{number}", "y")
        handled: list[tuple[str, float]] = []
        failures = 0

        async def handle(received: Received[str]) -> None:
            nonlocal failures
            if received.payload == "x2" and failures < 2:
                failures += 1
                raise ValueError
            handled.append((received.payload, elapsed_s()))

        async with working(client, url, handle) as worker:
            await asyncio.sleep(20)
        order = [name for name, _ in handled]
        assert [name for name in order if name[0] == "x"] == ["x1", "x2", "x3", "x4"]
        assert order.index("y4") < order.index("x2")
        # x2 fails twice, and each time x3 and x4 go back with it.
        assert worker.ledger == WorkerLedger(received=14, acked=8, retried=2, released=4)

    run(scenario())


def test_what_waits_behind_a_poison_message_is_not_dead_lettered_with_it() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("orders.fifo", max_receive_count=3)
        for body in ("poison", "good 1", "good 2"):
            await client.send(url, body, "g")
        handled = []

        async def handle(received: Received[str]) -> None:
            if received.payload == "poison":
                raise ValueError("always")
            handled.append(received.payload)

        async with working(client, url, handle) as worker:
            await asyncio.sleep(60)
        assert handled == ["good 1", "good 2"]
        (dead,) = await client.everything_in(dlq_of(url))
        reason = (dead.message_attributes or {})["ForebayRejectReason"].string_value
        assert (dead.body, reason) == ("poison", "Failed at its last receive: ValueError: always")
        assert worker.ledger == WorkerLedger(received=9, acked=2, rejected=1, retried=2, released=4)

    run(scenario())


def test_a_lost_lease_is_told_to_the_handler_and_its_message_is_not_counted_as_done() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("orders.fifo")
        for body in ("first", "second"):
            await client.send(url, body, "g")
        told = []

        def no_heartbeat(request: AnyRequest) -> None:
            if elapsed_s() < 12 and isinstance(request, ChangeMessageVisibilityBatchRequest):
                raise ServiceUnreachable

        client.before = no_heartbeat

        async def handle(received: Received[str]) -> None:
            slow = received.receive_count == 1 and received.payload == "first"
            await asyncio.sleep(15 if slow else 0)
            told.append((received.payload, received.receive_count, received.lease_lost))

        settings = WorkerSettings(visibility_timeout_s=10, concurrency=2)
        async with working(client, url, handle, settings=settings) as worker:
            await asyncio.sleep(30)
        assert told == [("first", 1, True), ("first", 3, False), ("second", 3, False)]
        # The first deliveries expired, one while it ran and one while it waited. The second came
        # while the first handler still ran, and went back when that order could not be kept.
        assert worker.ledger == WorkerLedger(received=6, acked=2, lost=2, released=2)

    run(scenario())


def test_an_outage_in_the_middle_costs_time_and_nothing_else() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        for number in range(100):
            await client.send(url, str(number))
        handled = []

        async def handle(received: Received[str]) -> None:
            await asyncio.sleep(0.1)
            handled.append(int(received.payload))

        def outage(request: AnyRequest) -> None:
            if 1 <= elapsed_s() <= 8:
                raise ServiceUnreachable

        async with working(client, url, handle, settings=WorkerSettings(concurrency=4)) as worker:
            client.before = outage
            await asyncio.sleep(60)
        assert sorted(handled) == list(range(100))
        assert worker.ledger == WorkerLedger(received=100, acked=100)

    run(scenario())
