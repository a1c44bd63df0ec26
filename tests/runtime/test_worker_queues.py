"""One worker and several queues, batches, limits and troubles, on the broker's real engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from forebay.errors import NoCredentials, ServiceUnreachable, SettingsError
from forebay.protocol.actions import AnyRequest, ReceiveMessageRequest
from forebay.protocol.errors import SqsError
from forebay.worker import (
    HIGH,
    LOW,
    MEDIUM,
    Queue,
    Received,
    Reject,
    Retry,
    Router,
    Worker,
    WorkerLedger,
    WorkerSettings,
)
from forebay.worker.breaker import CircuitBreaker
from forebay.worker.limits import Limit
from forebay.worker.permits import PoolPermit
from forebay.worker.scaling import LittlesLaw, ScalingInput, Target
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import START_S, LoopClock, run

TextHandler = Callable[[Received[str]], Awaitable[None]]


def elapsed_s() -> float:
    return asyncio.get_running_loop().time() - START_S


@asynccontextmanager
async def at_work(worker: Worker) -> AsyncIterator[asyncio.Task[WorkerLedger]]:
    """A running worker that has drained by the end of the block."""
    task = asyncio.create_task(worker.run())
    yield task
    worker.stop()
    await task
    assert worker.ledger.balances
    assert worker.ledger.in_hand == 0


async def filled(client: EngineClient, name: str, count: int, **attributes: object) -> str:
    url = await client.create(name, **attributes)
    for number in range(count):
        await client.send(url, f"{name} {number}", "g" if name.endswith(".fifo") else None)
    return url


def taking(handle: TextHandler, **options: Any) -> Router:
    router = Router()
    register: Any = router.raw(str, **options)
    register(handle)
    return router


def test_a_higher_class_is_handled_first_and_a_lower_one_is_not_forgotten() -> None:
    async def scenario() -> None:
        client = EngineClient()
        high = await filled(client, "high", 300)
        low = await filled(client, "low", 300)
        handled: list[str] = []

        async def handle(received: Received[str]) -> None:
            await asyncio.sleep(0.05)
            handled.append(received.queue)

        worker = Worker(
            client,
            [Queue(low, LOW), Queue(high, HIGH)],
            taking(handle),
            settings=WorkerSettings(concurrency=4),
            clock=LoopClock(),
        )
        async with at_work(worker):
            await asyncio.sleep(20)
        assert len(handled) == 600
        first_half = handled[:300]
        assert 240 <= first_half.count("high") < 300

    run(scenario())


def test_the_long_poll_of_an_empty_high_queue_does_not_hold_back_a_low_one() -> None:
    async def scenario() -> None:
        client = EngineClient()
        high = await filled(client, "high", 0)
        low = await filled(client, "low", 200)
        handled_s: list[float] = []

        async def handle(received: Received[str]) -> None:
            handled_s.append(elapsed_s())

        worker = Worker(
            client,
            [Queue(high, HIGH), Queue(low, LOW)],
            taking(handle),
            settings=WorkerSettings(wait_s=20, pollers=2),
            clock=LoopClock(),
        )
        began_s = elapsed_s()
        async with at_work(worker):
            await asyncio.sleep(5)
        assert len(handled_s) == 200
        assert max(handled_s) - began_s < 1

    run(scenario())


def test_a_high_message_does_not_wait_behind_a_backlog_of_slow_low_ones() -> None:
    async def scenario() -> None:
        client = EngineClient()
        high, low = await filled(client, "high", 0), await filled(client, "low", 600)
        sent_s: dict[str, float] = {}
        waited_s: list[float] = []
        low_handled = 0

        async def handle(received: Received[str]) -> None:
            nonlocal low_handled
            if received.queue == "high":
                waited_s.append(elapsed_s() - sent_s[received.payload])
            else:
                low_handled += 1
            await asyncio.sleep(3)

        worker = Worker(
            client,
            [Queue(high, HIGH), Queue(low, LOW)],
            taking(handle),
            settings=WorkerSettings(concurrency=8),
            clock=LoopClock(),
        )
        async with at_work(worker):
            await asyncio.sleep(30)
            low_before = low_handled
            for number in range(120):
                sent_s[f"h{number}"] = elapsed_s()
                await client.send(high, f"h{number}")
                await asyncio.sleep(0.5)
            # Six of the eight places are asked for by the high class. It waits for two handlers at
            # most and mostly for less than one; the low class gets the rest.
            assert len(waited_s) >= 115
            assert max(waited_s) < 7
            assert sum(waited_s) / len(waited_s) < 3
            assert low_handled - low_before >= 20
        assert worker.ledger.lost == 0

    run(scenario())


def test_each_queue_has_its_own_visibility_timeout() -> None:
    async def scenario() -> None:
        client = EngineClient()
        short = await filled(client, "short", 0, VisibilityTimeout=5)
        long = await filled(client, "long", 0, VisibilityTimeout=600)
        worker = Worker(
            client,
            [short, Queue(long, visibility_timeout_s=90)],
            taking(_nothing),
            clock=LoopClock(),
        )
        async with at_work(worker):
            await asyncio.sleep(1)
        receives = [each for each in client.requests if isinstance(each, ReceiveMessageRequest)]
        timeouts_s = {each.queue_url: each.visibility_timeout for each in receives}
        assert timeouts_s == {short: 5, long: 90}

    run(scenario())


def test_a_queue_may_have_a_router_of_its_own() -> None:
    async def scenario() -> None:
        client = EngineClient()
        orders, mail = await filled(client, "orders", 1), await filled(client, "mail", 1)
        handled: list[tuple[str, str]] = []

        async def handle(received: Received[str]) -> None:
            handled.append(("orders", received.payload))

        async def send(received: Received[str]) -> None:
            handled.append(("mail", received.payload))

        worker = Worker(
            client, [orders, Queue(mail, router=taking(send))], taking(handle), clock=LoopClock()
        )
        async with at_work(worker):
            await asyncio.sleep(1)
        assert sorted(handled) == [("mail", "mail 0"), ("orders", "orders 0")]

    run(scenario())


@pytest.mark.parametrize(
    ("queues", "complaint"),
    [([], "has no queue"), (["jobs", Queue("jobs", HIGH)], "given twice")],
)
def test_queues_that_make_no_sense_are_refused(queues: list[str | Queue], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Worker(EngineClient(clock=LoopClock()), queues, Router())


async def _nothing(received: Received[str]) -> None:
    """The work of a handler that has none."""


@pytest.mark.parametrize("name", ["logs", "logs.fifo"])
def test_a_batch_handler_gets_what_gathers_and_only_what_fails_comes_back(name: str) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await filled(client, name, 25)
        batches: list[list[str]] = []

        async def write(batch: list[Received[str]]) -> dict[Received[str], Exception] | None:
            batches.append([each.payload for each in batch])
            return (
                {each: Retry(1) for each in batch if each.payload.endswith(" 7")}
                if len(batches) == 1
                else None
            )

        worker = Worker(
            client,
            url,
            taking(write, batch=20, within_ms=500),  # type: ignore[arg-type]
            clock=LoopClock(),
        )
        async with at_work(worker):
            await asyncio.sleep(5)
        everything = [payload for batch in batches for payload in batch]
        # SQS hands out ten of a group, and no more of it before they are done.
        assert len(batches[0]) == (10 if name.endswith(".fifo") else 20)
        assert set(everything) == {f"{name} {number}" for number in range(25)}
        ledger = worker.ledger
        if name.endswith(".fifo"):
            # What came behind the one that failed went back with it, in the batch and out of it.
            assert batches[1][0] == f"{name} 7"
            assert everything[10:] == [f"{name} {number}" for number in range(7, 25)]
            assert (ledger.acked, ledger.retried) == (25, 1)
        else:
            assert ledger == WorkerLedger(received=26, acked=25, retried=1)

    run(scenario())


def test_what_is_rejected_in_a_batch_and_has_nowhere_to_go_keeps_its_group_in_order() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await filled(client, "logs.fifo", 5)
        batches: list[list[str]] = []

        async def write(batch: list[Received[str]]) -> dict[Received[str], Exception] | None:
            batches.append([each.payload for each in batch])
            return {batch[1]: Reject("never")} if len(batches) == 1 else None

        router = taking(write, batch=5, within_ms=500)  # type: ignore[arg-type]
        worker = Worker(client, url, router, clock=LoopClock())
        async with at_work(worker):
            await asyncio.sleep(10)
        names = [f"logs.fifo {number}" for number in range(5)]
        assert batches == [names, names[1:]]
        assert worker.ledger == WorkerLedger(received=9, acked=5, retried=1, released=3)

    run(scenario())


@pytest.mark.parametrize("body", ["5", "{}", "null", "plain", '{"a": '])
def test_who_asks_for_text_gets_any_text(body: str) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        await client.send(url, body)
        handled: list[str] = []

        async def handle(received: Received[str]) -> None:
            handled.append(received.payload)

        async with at_work(Worker(client, url, taking(handle), clock=LoopClock())):
            await asyncio.sleep(1)
        assert handled == [body]

    run(scenario())


def test_a_limit_by_key_bounds_what_runs_and_lets_other_keys_go_before() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        for number in range(12):
            await client.send(url, f"noisy {number}")
        await client.send(url, "quiet")
        running: dict[str, int] = {}
        most: dict[str, int] = {}
        ended: list[str] = []

        def tenant(received: Received[str]) -> str:
            return received.payload.partition(" ")[0]

        async def handle(received: Received[str]) -> None:
            name = tenant(received)
            running[name] = running.get(name, 0) + 1
            most[name] = max(most.get(name, 0), running[name])
            await asyncio.sleep(1)
            running[name] -= 1
            ended.append(name)

        router = taking(handle, limits=[Limit(key=tenant, running=2)])
        worker = Worker(client, url, router, clock=LoopClock())
        async with at_work(worker):
            await asyncio.sleep(10)
        assert most == {"noisy": 2, "quiet": 1}
        assert ended.index("quiet") <= 3
        assert worker.ledger == WorkerLedger(received=13, acked=13)

    run(scenario())


def test_a_rate_is_kept() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await filled(client, "jobs", 50)
        began_s: list[float] = []

        async def handle(received: Received[str]) -> None:
            began_s.append(elapsed_s())

        router = taking(handle, limits=[Limit(per_s=10, burst=1)])
        worker = Worker(client, url, router, clock=LoopClock())
        async with at_work(worker):
            await asyncio.sleep(8)
        assert len(began_s) == 50
        assert began_s[-1] - began_s[0] == pytest.approx(4.9, abs=0.1)

    run(scenario())


def test_an_open_breaker_stops_the_receives_of_its_queue_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        client = EngineClient()
        bad, good = await filled(client, "bad", 200), await filled(client, "good", 200)
        handled = {"bad": 0, "good": 0}
        bank_is_back = False

        async def pay(received: Received[str]) -> None:
            handled[received.queue] += 1
            await asyncio.sleep(0.01)
            if received.queue == "bad" and not bank_is_back:
                raise ConnectionError("the bank is away")

        breaker = CircuitBreaker(0.5, of=10, open_s=30)
        worker = Worker(
            client,
            [Queue(bad, router=taking(pay, breaker=breaker)), good],
            taking(pay),
            settings=WorkerSettings(concurrency=4, backoff_max_s=2),
            clock=LoopClock(),
        )
        async with at_work(worker):
            await asyncio.sleep(20)
            assert handled["good"] == 200
            assert 10 <= handled["bad"] < 20
            assert "circuit breaker" in worker.snapshot().held_back
            bank_is_back = True
            await asyncio.sleep(40)
            assert worker.snapshot().held_back == {}
        assert worker.ledger.acked == 400
        assert worker.ledger.lost == 0

    with caplog.at_level("INFO"):
        run(scenario())
    assert [line for line in caplog.messages if line.startswith("The circuit")] == [
        "The circuit breaker is open: at least 5 of 10 calls failed. bad is not received from until"
        " it is closed.",
        "The circuit breaker is closed: calls have worked.",
    ]


def test_a_permit_bounds_what_is_received() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await filled(client, "jobs", 30)
        connections = 0
        worker = Worker(
            client,
            url,
            taking(_nothing),
            permits=[PoolPermit("database", lambda: connections)],
            clock=LoopClock(),
        )
        async with at_work(worker):
            await asyncio.sleep(5)
            assert client.count(ReceiveMessageRequest) == 0
            assert worker.snapshot().held_back == {"database": "database has nothing free"}
            assert worker.snapshot().queues[0].answered_ago_s is None
            await asyncio.sleep(60)
            connections = 3
            await asyncio.sleep(5)
            receives = [each for each in client.requests if isinstance(each, ReceiveMessageRequest)]
            assert {each.max_number_of_messages for each in receives} == {3}
        assert worker.ledger == WorkerLedger(received=30, acked=30)

    run(scenario())


def test_a_permit_and_a_policy_that_fail_are_spoken_of_once_and_break_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails:
        name = "shop"
        queues = ()
        reason = ""
        works = False

        def free(self, now_ms: int) -> int | None:
            if not self.works:
                raise ZeroDivisionError
            return None

    class NoPolicy(LittlesLaw, frozen=True):
        def processors(self, seen: ScalingInput) -> Target:
            raise LookupError

    async def scenario() -> None:
        client = EngineClient()
        url = await filled(client, "jobs", 30)
        permit = Fails()
        worker = Worker(
            client,
            url,
            taking(_nothing),
            permits=[permit],
            scaling=NoPolicy(),
            clock=LoopClock(),
        )
        async with at_work(worker):
            await asyncio.sleep(5)
            assert worker.snapshot().held_back == {"shop": "shop cannot be asked; see the log"}
            permit.works = True
            await asyncio.sleep(5)
        assert worker.ledger == WorkerLedger(received=30, acked=30)

    run(scenario())
    assert caplog.text.count("The permit shop cannot be asked") == 1
    assert caplog.text.count("The scaling policy fails") == 1


def test_credentials_that_fail_in_the_middle_cost_time_and_no_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One failed look-up once ended the worker and cancelled its handlers in mid-effect."""

    def no_credentials(request: AnyRequest) -> None:
        if 2 <= elapsed_s() <= 10:
            raise NoCredentials

    async def scenario() -> None:
        client = EngineClient()
        url = await filled(client, "jobs", 40, VisibilityTimeout=30)
        cancelled: list[str] = []

        async def handle(received: Received[str]) -> None:
            try:
                await asyncio.sleep(3)
            except asyncio.CancelledError:
                cancelled.append(received.payload)
                raise

        client.before = no_credentials
        worker = Worker(
            client, url, taking(handle), settings=WorkerSettings(concurrency=4), clock=LoopClock()
        )
        async with at_work(worker):
            await asyncio.sleep(60)
        assert cancelled == []
        assert worker.ledger == WorkerLedger(received=40, acked=40)

    with caplog.at_level(logging.INFO, "forebay.worker"):
        run(scenario())
    assert caplog.text.count("Receiving from jobs fails, will go on trying") == 1
    assert "Receiving from jobs works again" in caplog.text


@pytest.mark.parametrize("error", [NoCredentials(), None])
def test_what_no_waiting_mends_ends_the_start_with_that_error(error: Exception | None) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")

        def fail(request: AnyRequest) -> None:
            if error is not None:
                raise error

        client.before = fail
        worker = Worker(client, "nowhere" if error is None else url, Router(), clock=LoopClock())
        with pytest.raises(SqsError if error is None else NoCredentials):
            await worker.run()

    run(scenario())


def test_a_broker_that_is_away_at_the_start_is_spoken_of_at_once_and_a_stop_is_heeded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")

        def away(request: AnyRequest) -> None:
            raise ServiceUnreachable("Nobody listens there.")

        client.before = away
        worker = Worker(client, url, Router(), clock=LoopClock())
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.5)
        assert "Nobody listens there." in caplog.text
        await asyncio.sleep(30)
        worker.stop()
        stopped_s = elapsed_s()
        assert await running == WorkerLedger()
        assert elapsed_s() - stopped_s < 0.1

    run(scenario())


def test_a_mistake_of_the_worker_itself_drains_and_is_raised() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await filled(client, "jobs", 3)
        ended: list[str] = []

        async def handle(received: Received[str]) -> None:
            await asyncio.sleep(1)
            ended.append(received.payload)

        worker = Worker(client, url, taking(handle), clock=LoopClock())

        def broken() -> None:
            raise ZeroDivisionError

        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.5)
        worker._autoscaler.decide = broken  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await running
        assert len(ended) == 3
        assert worker.ledger == WorkerLedger(received=3, acked=3)

    run(scenario())


def test_a_handler_that_hangs_loses_its_place_and_keeps_its_message() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs", VisibilityTimeout=20, max_receive_count=10)
        for body in ("hangs", "fine 1", "fine 2"):
            await client.send(url, body)
        handled: list[tuple[str, int]] = []

        async def handle(received: Received[str]) -> None:
            handled.append((received.payload, received.receive_count))
            if received.payload == "hangs" and received.receive_count == 1:
                while elapsed_s() < 15:
                    try:
                        await asyncio.sleep(100)
                    except asyncio.CancelledError:
                        await asyncio.sleep(1)

        router = taking(handle, timeout_s=5)
        worker = Worker(
            client, url, router, settings=WorkerSettings(concurrency=1), clock=LoopClock()
        )
        async with at_work(worker):
            await asyncio.sleep(8)
            assert [name for name, _ in handled] == ["hangs", "fine 1", "fine 2"]
            assert worker.snapshot().hanging == 1
            await asyncio.sleep(30)
        # Its lease ran out, and it came again.
        assert ("hangs", 2) in handled
        assert worker.ledger.lost == 1
        assert worker.ledger.acked == 3

    run(scenario())


def test_a_group_whose_handler_hangs_goes_on_when_its_lease_is_over() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs.fifo", VisibilityTimeout=20, max_receive_count=10)
        for body in ("hangs", "next"):
            await client.send(url, body, "g")
        began: list[tuple[str, int, float]] = []

        async def handle(received: Received[str]) -> None:
            began.append((received.payload, received.receive_count, elapsed_s()))
            if received.payload == "hangs" and received.receive_count == 1:
                while elapsed_s() < 300:
                    try:
                        await asyncio.sleep(100)
                    except asyncio.CancelledError:
                        await asyncio.sleep(1)

        worker = Worker(client, url, taking(handle, timeout_s=5), clock=LoopClock())
        async with at_work(worker):
            await asyncio.sleep(60)
            assert [(name, count) for name, count, _ in began][:2] == [("hangs", 1), ("hangs", 2)]
            assert began[-1][0] == "next"
            assert began[-1][2] < 30
        assert worker.ledger.lost == 1
        assert worker.ledger.acked == 2

    run(scenario())


def test_sizes_can_be_changed_at_work_and_nothing_is_given_up() -> None:
    async def scenario() -> None:
        client = EngineClient()
        url = await filled(client, "jobs", 100)
        running = most = 0

        async def handle(received: Received[str]) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1

        settings = WorkerSettings(concurrency=2, concurrency_min=2)
        worker = Worker(client, url, taking(handle), settings=settings, clock=LoopClock())
        async with at_work(worker):
            await asyncio.sleep(3)
            assert most == 2
            worker.adjust(replace(settings, concurrency=20, concurrency_min=20, buffer_medium=30))
            await asyncio.sleep(2)
            assert most == 20
            worker.adjust(replace(settings, concurrency=1, concurrency_min=1, buffer_medium=1))
            await asyncio.sleep(2)
            assert running == 1
            shown = worker.snapshot()
            assert shown.processors.most == 1
            assert {each.capacity for each in shown.buffers if each.priority == MEDIUM} == {1}
            with pytest.raises(SettingsError, match="Only concurrency, "):
                worker.adjust(replace(settings, wait_s=5))
            worker.adjust(replace(settings, concurrency=20, concurrency_min=20))
            await asyncio.sleep(20)
        assert worker.ledger == WorkerLedger(received=100, acked=100)

    run(scenario())


def test_the_snapshot_shows_what_is_under_way() -> None:
    async def scenario() -> None:
        client = EngineClient()
        high, low = await filled(client, "high", 0), await filled(client, "low", 30)

        async def handle(received: Received[str]) -> None:
            await asyncio.sleep(10)

        worker = Worker(
            client,
            [Queue(high, HIGH), Queue(low, LOW)],
            taking(handle),
            settings=WorkerSettings(concurrency=4, attributes_interval_s=1),
            clock=LoopClock(),
        )
        assert worker.snapshot().state == "starting"
        async with at_work(worker):
            await asyncio.sleep(3)
            shown = worker.snapshot()
            assert (shown.state, shown.processors.busy) == ("working", 4)
            queues = {queue.name: queue for queue in shown.queues}
            assert queues["high"].answered_ago_s is not None
            assert queues["low"].ledger.in_hand + (queues["low"].visible or 0) == 30
            assert queues["low"].in_flight == queues["low"].ledger.in_hand
            sizes = {each.priority: each.size for each in shown.buffers}
            assert sizes == {HIGH: 0, MEDIUM: 0, LOW: queues["low"].ledger.in_hand - 4}
        assert worker.snapshot().state == "stopped"

    run(scenario())
