"""Stopping: what still runs, what is given back, and a ledger in which nothing is missing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from forebay.client.fake import ScriptedSqsClient
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    ChangeMessageVisibilityBatchRequest,
    DeleteMessageBatchRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)
from forebay.worker import (
    Received,
    Router,
    Worker,
    WorkerLedger,
    WorkerSettings,
    run_until_signalled,
)
from forebay.worker.drain import Deadlines, DrainStep, Remaining, drain_step
from tests.runtime.engine_client import EngineClient
from tests.runtime.virtual_time import LoopClock, run

GIVE_UP, LEAVE, THREADS = 20_000, 25_000, 50_000

DEADLINES = Deadlines(give_up_ms=GIVE_UP, threads_ms=THREADS, leave_ms=LEAVE)


@pytest.mark.parametrize(
    ("polls", "running", "waiting", "in_hand", "now_ms", "given_up", "step"),
    [
        (0, 0, 0, 0, 0, False, DrainStep.DONE),
        # A receive in flight may bring messages: it is awaited, however long it takes.
        (1, 0, 0, 0, 0, False, DrainStep.WAIT),
        (1, 0, 0, 0, LEAVE, False, DrainStep.WAIT),
        (1, 2, 3, 5, LEAVE, False, DrainStep.WAIT),
        # What runs and waits has until the deadline.
        (0, 2, 3, 5, GIVE_UP - 1, False, DrainStep.WAIT),
        (0, 2, 3, 5, GIVE_UP, False, DrainStep.GIVE_UP),
        (0, 0, 3, 5, LEAVE, False, DrainStep.GIVE_UP),
        (0, 2, 0, 5, GIVE_UP, True, DrainStep.WAIT),
        # What SQS has not confirmed has a little longer.
        (0, 0, 0, 4, GIVE_UP, False, DrainStep.WAIT),
        (0, 0, 0, 4, LEAVE - 1, False, DrainStep.WAIT),
        (0, 0, 0, 4, LEAVE, False, DrainStep.LEAVE),
        (0, 1, 0, 4, LEAVE, True, DrainStep.LEAVE),
    ],
)
def test_what_a_drain_does_next(
    polls: int,
    running: int,
    waiting: int,
    in_hand: int,
    now_ms: int,
    given_up: bool,
    step: DrainStep,
) -> None:
    remaining = Remaining(polls=polls, running=running, waiting=waiting, in_hand=in_hand)
    assert drain_step(remaining, DEADLINES, now_ms, given_up=given_up) is step


@pytest.mark.parametrize(
    ("left", "in_hand", "now_ms", "step"),
    [
        # A plain function has its own time, whatever else is confirmed or not.
        (1, 1, LEAVE, DrainStep.WAIT),
        (1, 3, THREADS - 1, DrainStep.WAIT),
        # Nothing but such functions: nothing is left to be confirmed.
        (2, 2, THREADS, DrainStep.LEAVE),
        (0, 1, LEAVE, DrainStep.LEAVE),
    ],
)
def test_how_long_a_drain_waits_for_plain_functions(
    left: int, in_hand: int, now_ms: int, step: DrainStep
) -> None:
    remaining = Remaining(left=left, in_hand=in_hand)
    assert drain_step(remaining, DEADLINES, now_ms, given_up=True) is step


@pytest.mark.parametrize(
    ("in_hand", "now_ms", "step"),
    [
        (2, THREADS - 1, DrainStep.WAIT),
        # No deletion is under way that could be confirmed.
        (2, THREADS, DrainStep.LEAVE),
        # One is.
        (3, THREADS, DrainStep.WAIT),
    ],
)
def test_functions_that_nobody_waits_for_any_longer_hold_up_nothing(
    in_hand: int, now_ms: int, step: DrainStep
) -> None:
    deadlines = Deadlines(give_up_ms=GIVE_UP, threads_ms=THREADS, leave_ms=THREADS + 5_000)
    remaining = Remaining(left=2, in_hand=in_hand)
    assert drain_step(remaining, deadlines, now_ms, given_up=True) is step


@pytest.mark.parametrize(
    ("now_ms", "wait_ms"), [(0, 20_000), (20_000, 5_000), (25_000, 25_000), (50_000, 5_000)]
)
def test_a_drain_looks_again_at_its_next_deadline(now_ms: int, wait_ms: int) -> None:
    assert DEADLINES.wait_ms(now_ms) == wait_ms


class World:
    """A queue of messages whose handlers take as long as their bodies say, and a worker."""

    def __init__(self, **settings: float) -> None:
        self.client = EngineClient()
        self.router = Router()
        self.router.default(self._handle)
        self.settings = WorkerSettings(**{"wait_s": 2, **settings})  # type: ignore[arg-type]
        self.executor: Executor | None = None
        self.handled: list[str] = []
        self.cancelled: list[str] = []

    async def _handle(self, received: Received[str]) -> None:
        try:
            await asyncio.sleep(float(received.payload.partition(" ")[0]))
        except asyncio.CancelledError:
            self.cancelled.append(received.payload)
            raise
        self.handled.append(received.payload)

    async def start(self, name: str, *bodies: str) -> None:
        self.url = await self.client.create(name)
        for body in bodies:
            await self.client.send(self.url, body, "g" if name.endswith(".fifo") else None)
        self.worker = Worker(
            self.client,
            self.url,
            self.router,
            settings=self.settings,
            clock=LoopClock(),
            executor=self.executor,
        )
        self.running = asyncio.create_task(self.worker.run())

    async def drain(self) -> tuple[WorkerLedger, float]:
        """The ledger, and how long the drain took in seconds."""
        started_s = asyncio.get_running_loop().time()
        self.worker.stop()
        ledger = await self.running
        return ledger, asyncio.get_running_loop().time() - started_s


def test_an_idle_worker_stops_as_soon_as_its_long_poll_ends() -> None:
    async def scenario() -> None:
        world = World(wait_s=2)
        await world.start("jobs")
        await asyncio.sleep(5)
        ledger, took_s = await world.drain()
        assert ledger == WorkerLedger()
        assert took_s <= 2.1

    run(scenario())


def test_a_worker_stopped_before_it_runs_does_nothing() -> None:
    async def scenario() -> None:
        world = World()
        await world.start("jobs", "0")
        ledger, _ = await world.drain()
        assert ledger == WorkerLedger()
        assert world.client.count(ReceiveMessageRequest) == 0

    run(scenario())


def test_what_the_last_receive_brings_is_still_handled() -> None:
    async def scenario() -> None:
        world = World()
        await world.start("jobs")
        await asyncio.sleep(0.5)
        draining = asyncio.create_task(world.drain())
        await asyncio.sleep(0.5)
        await world.client.send(world.url, "0 late")
        ledger, _ = await draining
        assert world.handled == ["0 late"]
        assert ledger == WorkerLedger(received=1, acked=1)

    run(scenario())


def test_what_is_buffered_finishes_within_the_deadline() -> None:
    async def scenario() -> None:
        world = World(concurrency=2, buffer_medium=8, drain_timeout_s=20)
        await world.start("jobs", *(f"3 {number}" for number in range(10)))
        await asyncio.sleep(1)
        ledger, took_s = await world.drain()
        assert ledger == WorkerLedger(received=10, acked=10)
        assert 14 <= took_s <= 15
        assert await world.client.counts(world.url) == (0, 0)

    run(scenario())


@pytest.mark.parametrize("name", ["jobs", "orders.fifo"])
def test_at_the_deadline_the_rest_is_visible_again_at_once(name: str) -> None:
    async def scenario() -> None:
        world = World(concurrency=2, buffer_medium=8, drain_timeout_s=5)
        await world.start(name, "1 a", "60 b", "60 c", "60 d", "60 e")
        await asyncio.sleep(2)
        ledger, took_s = await world.drain()
        assert ledger == WorkerLedger(received=5, acked=1, released=4)
        assert took_s == pytest.approx(5, abs=0.1)
        assert sorted(world.cancelled) == (["60 b"] if name.endswith(".fifo") else ["60 b", "60 c"])
        assert await world.client.counts(world.url) == (4, 0)
        left = [each.body for each in await world.client.everything_in(world.url)]
        assert sorted(left) == ["60 b", "60 c", "60 d", "60 e"]
        if name.endswith(".fifo"):
            assert left == sorted(left)

    run(scenario())


def test_what_comes_after_the_deadline_is_given_back_unseen() -> None:
    async def scenario() -> None:
        world = World(wait_s=20, drain_timeout_s=1, pollers=1)
        await world.start("jobs", "5 a", "60 b")
        await asyncio.sleep(0.5)
        draining = asyncio.create_task(world.drain())
        await asyncio.sleep(9)
        await world.client.send(world.url, "0 late")
        ledger, took_s = await draining
        # The receive in flight ends the wait; until then there is time for what runs already, and
        # giving `b` back any sooner would only have that receive bring it again.
        assert took_s == pytest.approx(9, abs=0.1)
        assert ledger == WorkerLedger(received=3, acked=1, released=2)
        assert (world.handled, world.cancelled) == (["5 a"], ["60 b"])
        assert await world.client.counts(world.url) == (2, 0)

    run(scenario())


def test_a_handler_in_a_thread_that_cannot_be_stopped_keeps_its_message_hidden(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = threading.Event()

    def never_ends(received: Received[str]) -> None:
        release.wait()

    async def scenario() -> None:
        client = EngineClient()
        url = await client.create("jobs")
        for body in ("first", "second"):
            await client.send(url, body)
        router = Router()
        router.default(never_ends)
        with ThreadPoolExecutor(1) as executor:
            worker = Worker(
                client,
                url,
                router,
                settings=WorkerSettings(drain_timeout_s=3),
                clock=LoopClock(),
                executor=executor,
            )
            running = asyncio.create_task(worker.run())
            await asyncio.sleep(1)
            worker.stop()
            ledger = await running
            release.set()
        # One runs in the only thread; the other never started, so it can be given back.
        assert ledger == WorkerLedger(received=2, lost=1, released=1)
        assert await client.counts(url) == (1, 1)

    run(scenario())
    assert "runs in a thread and goes on" in caplog.text
    assert "their handlers still run" in caplog.text


def test_what_a_plain_function_does_after_the_deadline_is_acknowledged() -> None:
    release = threading.Event()

    def ends_late(received: Received[str]) -> None:
        release.wait()

    async def scenario() -> None:
        world = World(drain_timeout_s=3, thread_timeout_s=60)
        world.router = Router()
        world.router.default(ends_late)
        world.executor = executor = ThreadPoolExecutor(1)
        await world.start("jobs", "m")
        await asyncio.sleep(1)

        def end() -> None:
            release.set()
            # Virtual time must not pass while the thread comes to its end.
            executor.shutdown()

        asyncio.get_running_loop().call_later(39, end)
        ledger, took_s = await world.drain()
        assert ledger == WorkerLedger(received=1, acked=1)
        assert took_s == pytest.approx(39, abs=1)

    run(scenario())


def test_stopping_at_once_gives_back_what_runs_and_waits() -> None:
    async def scenario() -> None:
        world = World(concurrency=2, buffer_medium=8, drain_timeout_s=20)
        await world.start("jobs", *(f"60 {number}" for number in range(5)))
        await asyncio.sleep(1)
        started_s = asyncio.get_running_loop().time()
        world.worker.stop()
        await asyncio.sleep(3)
        world.worker.stop(now=True)
        ledger = await world.running
        assert asyncio.get_running_loop().time() - started_s == pytest.approx(3, abs=0.5)
        assert ledger == WorkerLedger(received=5, released=5)
        assert await world.client.counts(world.url) == (5, 0)

    run(scenario())


def test_a_service_that_is_gone_does_not_hold_up_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def outage(request: AnyRequest) -> None:
        if isinstance(request, DeleteMessageBatchRequest | ChangeMessageVisibilityBatchRequest):
            raise ServiceUnreachable

    async def scenario() -> None:
        world = World(concurrency=2, buffer_medium=8, drain_timeout_s=5)
        await world.start("jobs", "1 a", "60 b", "60 c")
        world.client.before = outage
        await asyncio.sleep(2)
        ledger, took_s = await world.drain()
        assert ledger == WorkerLedger(received=3, lost=3)
        assert took_s == pytest.approx(10, abs=0.5)

    run(scenario())
    assert "has not confirmed the ending of 3 messages" in caplog.text


def test_a_handler_that_ends_in_its_own_way_when_it_is_cancelled_is_taken_at_its_word() -> None:
    async def scenario() -> None:
        world = World(drain_timeout_s=1)
        router = Router()

        @router.default
        async def finishes_all_the_same(received: Received[str]) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(1)

        world.router = router
        await world.start("jobs", "m")
        await asyncio.sleep(0.5)
        ledger, _ = await world.drain()
        assert ledger == WorkerLedger(received=1, acked=1)

    run(scenario())


class TestRunUntilSignalled:
    """On the machine's own loop, because signals do not know virtual time."""

    @staticmethod
    def worker() -> Worker:
        async def answer(request: AnyRequest) -> ReceiveMessageResult:
            await asyncio.sleep(0)
            return ReceiveMessageResult()

        return Worker(ScriptedSqsClient(answer), "http://sqs.test/000000000000/jobs", Router())

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_a_signal_drains_every_worker(self, number: signal.Signals) -> None:
        asyncio.get_running_loop().call_later(0, os.kill, os.getpid(), number)
        ledgers = await run_until_signalled(self.worker(), self.worker())
        assert ledgers == [WorkerLedger(), WorkerLedger()]

    async def test_ctrl_c_that_was_ignored_at_the_start_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            loop = asyncio.get_running_loop()
            loop.call_later(0, os.kill, os.getpid(), signal.SIGINT)
            loop.call_later(0, os.kill, os.getpid(), signal.SIGTERM)
            await run_until_signalled(self.worker())
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)

    async def test_signals_act_as_before_afterwards(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        asyncio.get_running_loop().call_later(0, os.kill, os.getpid(), signal.SIGTERM)
        await run_until_signalled(self.worker())
        assert signal.getsignal(signal.SIGTERM) == before


def test_when_one_worker_breaks_the_others_drain_before_its_error_is_raised() -> None:
    async def scenario() -> None:
        world = World(drain_timeout_s=20)
        await world.start("jobs", "3 a", "3 b")
        world.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await world.running

        async def breaks(request: AnyRequest) -> ReceiveMessageResult:
            await asyncio.sleep(1)
            raise ZeroDivisionError

        broken = Worker(ScriptedSqsClient(breaks), world.url, Router(), clock=LoopClock())
        fine = Worker(world.client, world.url, world.router, clock=LoopClock())
        with pytest.raises(ZeroDivisionError):
            await run_until_signalled(broken, fine)
        assert fine.ledger == WorkerLedger(received=2, acked=2)

    run(scenario())


def test_the_ledger_is_logged_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = World()
        await world.start("jobs", "0 a")
        await asyncio.sleep(1)
        await world.drain()

    with caplog.at_level(logging.INFO, "forebay.worker"):
        run(scenario())
    assert "WorkerLedger(received=1, acked=1" in caplog.text
