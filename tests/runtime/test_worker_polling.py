"""When to receive and how much, and what happens when receiving fails."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.client.fake import ScriptedSqsClient
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.worker.polling import (
    UNCONFIRMED_MAX,
    Poller,
    Polls,
    Stock,
    in_hand_limit,
    receive_limit,
    receives_to_start,
)
from forebay.worker.settings import WorkerSettings
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import message

STANDARD_URL = "http://sqs.test/000000000000/jobs"
FIFO_URL = "http://sqs.test/000000000000/orders.fifo"


@pytest.mark.parametrize(
    ("concurrency", "prefetch", "fifo", "handling_s", "limit"),
    [
        # Nothing is known of the handlers: places and prefetch.
        (16, 16, False, None, 32),
        (1, 0, False, None, 1),
        # A FIFO receive of ten may be one group, so ten for each place.
        (16, 16, True, None, 160),
        (4, 100, True, None, 104),
        # In 15 s, half of the visibility timeout, 4 places handle 20 messages of 3 s.
        (4, 100, False, 3.0, 20),
        (4, 100, True, 3.0, 20),
        # Handlers outlast the visibility timeout: nothing is prefetched, every place is used.
        (4, 100, False, 60.0, 4),
        # Handlers that take no time set no bound.
        (4, 100, False, 0.0, 104),
    ],
)
def test_how_much_may_be_in_hand(
    concurrency: int, prefetch: int, fifo: bool, handling_s: float | None, limit: int
) -> None:
    settings = WorkerSettings(concurrency=concurrency, prefetch=prefetch, visibility_timeout_s=30)
    assert in_hand_limit(settings, fifo=fifo, handling_s=handling_s) == limit


@pytest.mark.parametrize(
    ("fifo", "handling_s", "limit"),
    [
        (False, None, 10),
        (False, 60.0, 10),
        (True, None, 10),
        (True, 1.0, 10),
        # 15 s of handlers of 5 s, one after another.
        (True, 5.0, 3),
        (True, 60.0, 1),
    ],
)
def test_how_much_one_receive_may_ask_for(fifo: bool, handling_s: float | None, limit: int) -> None:
    settings = WorkerSettings(visibility_timeout_s=30)
    assert receive_limit(settings, fifo=fifo, handling_s=handling_s) == limit


@pytest.mark.parametrize(
    ("running", "ready", "blocked", "polls", "fifo", "receives"),
    [
        # Concurrency 16, prefetch 16, batches of ten, four pollers.
        (0, 0, 0, Polls(), False, [10, 10]),
        (0, 0, 0, Polls(1, 10), False, [10]),
        (0, 0, 0, Polls(2, 20), False, []),
        # An empty queue gets one receive at a time.
        (0, 0, 0, Polls(0, 0, quiet=True), False, [10]),
        (0, 0, 0, Polls(1, 10, quiet=True), False, []),
        # Everything is busy and enough waits.
        (16, 16, 0, Polls(), False, []),
        # Less than a batch has room: what waits lasts until a whole one has.
        (16, 7, 0, Polls(), False, []),
        (16, 6, 0, Polls(), False, [10]),
        # Places are free: any number is worth a call.
        (10, 0, 0, Polls(0, 0), False, [10, 10]),
        # FIFO: what waits behind its group keeps no place busy.
        (2, 0, 18, Polls(), True, [10, 10]),
        (16, 0, 144, Polls(), True, []),
        (3, 0, 150, Polls(), True, [7]),
    ],
)
def test_which_receives_start(
    running: int, ready: int, blocked: int, polls: Polls, fifo: bool, receives: list[int]
) -> None:
    stock = Stock(running=running, ready=ready, blocked=blocked)
    settings = WorkerSettings(concurrency=16, prefetch=16, batch=10, pollers=4)
    assert receives_to_start(stock, polls, settings, fifo=fifo) == receives


def test_no_receive_starts_while_sqs_does_not_confirm_deletions() -> None:
    stock = Stock(running=0, ready=0, unconfirmed=UNCONFIRMED_MAX)
    assert receives_to_start(stock, Polls(), WorkerSettings(), fifo=False) == []


@given(
    concurrency=st.integers(1, 40),
    prefetch=st.integers(0, 40),
    batch=st.integers(1, 10),
    pollers=st.integers(1, 6),
    used=st.integers(0, 40),
    ready=st.integers(0, 60),
    blocked=st.integers(0, 60),
    in_flight=st.integers(0, 6),
    handling_s=st.none() | st.floats(0, 100),
    fifo=st.booleans(),
)
def test_receives_stay_inside_every_bound_and_no_place_stays_free_for_nothing(
    concurrency: int,
    prefetch: int,
    batch: int,
    pollers: int,
    used: int,
    ready: int,
    blocked: int,
    in_flight: int,
    handling_s: float | None,
    fifo: bool,
) -> None:
    settings = WorkerSettings(
        concurrency=concurrency, prefetch=prefetch, batch=batch, pollers=pollers
    )
    running = min(used, concurrency)
    blocked = blocked if fifo else 0
    stock = Stock(running=running, ready=ready, blocked=blocked, handling_s=handling_s)
    polls = Polls(in_flight, in_flight * batch)
    receives = receives_to_start(stock, polls, settings, fifo=fifo)
    limit = in_hand_limit(settings, fifo=fifo, handling_s=handling_s)
    in_hand = running + ready + blocked + polls.requested
    assert all(1 <= count <= batch for count in receives)
    assert not receives or in_flight + len(receives) <= pollers
    assert not receives or in_hand + sum(receives) <= limit
    if in_flight + len(receives) < pollers and in_hand + sum(receives) < limit:
        assert ready + polls.requested + sum(receives) >= concurrency - running


class World:
    """A poller over a script: what SQS answers next, and what became of it."""

    def __init__(self, url: str, settings: WorkerSettings | None = None) -> None:
        self.answers: list[list[Message] | Exception] = []
        self.delivered: list[tuple[str, int]] = []
        self.times_ms: list[int] = []
        self.client = ScriptedSqsClient(self._answer)
        self.clock = LoopClock()
        self.poller = Poller(
            self.client,
            url,
            settings or WorkerSettings(wait_s=2, concurrency=1, prefetch=0),
            clock=self.clock,
            entropy=random.Random(1).randbytes,
            stock=lambda: Stock(running=0, ready=0),
            deliver=self._deliver,
        )

    @property
    def receives(self) -> list[ReceiveMessageRequest]:
        return [each for each in self.client.requests if isinstance(each, ReceiveMessageRequest)]

    async def _answer(self, request: AnyRequest) -> ReceiveMessageResult:
        assert isinstance(request, ReceiveMessageRequest)
        self.times_ms.append(self.clock.monotonic_ms())
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            await asyncio.sleep(0.01)
            raise answer
        await asyncio.sleep(0.01 if answer else request.wait_time_seconds or 0)
        return ReceiveMessageResult(messages=answer or None)

    def _deliver(self, messages: list[Message], taken_ms: int) -> None:
        self.delivered += [(each.message_id, taken_ms) for each in messages]

    async def poll_for(self, duration_s: float) -> None:
        polling = asyncio.create_task(self.poller.run())
        await asyncio.sleep(duration_s)
        self.poller.stop()
        await polling


def test_a_receive_asks_for_what_the_worker_needs() -> None:
    async def scenario() -> None:
        world = World(STANDARD_URL, WorkerSettings(visibility_timeout_s=45, wait_s=3))
        await world.poll_for(0)
        first = world.receives[0]
        assert (first.max_number_of_messages, first.visibility_timeout) == (10, 45)
        assert (first.wait_time_seconds, first.message_attribute_names) == (3, ["All"])
        assert first.receive_request_attempt_id is None

    run(scenario())


def test_stopping_awaits_the_receive_in_flight_and_delivers_what_it_brings() -> None:
    async def scenario() -> None:
        world = World(STANDARD_URL)
        world.answers = [[message("late")]]
        await world.poll_for(0)
        assert [name for name, _ in world.delivered] == ["late"]
        assert len(world.receives) == 1
        assert world.poller.polls == 0

    run(scenario())


def test_an_unreachable_service_is_asked_ever_less_often_and_complained_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> World:
        world = World(STANDARD_URL)
        world.answers = [ServiceUnreachable() for _ in range(8)]
        world.answers.append([message("after the outage")])
        await world.poll_for(200)
        return world

    with caplog.at_level(logging.INFO, "forebay.worker"):
        world = run(scenario())
    gaps_s = [
        (later - sooner) / 1000
        for sooner, later in zip(world.times_ms[:8], world.times_ms[1:9], strict=True)
    ]
    bounds_s = [0.5, 1, 2, 4, 8, 16, 30, 30]
    for gap_s, bound_s in zip(gaps_s, bounds_s, strict=True):
        assert gap_s <= bound_s + 0.02
    assert sum(gaps_s) > sum(bounds_s) / 4
    assert [name for name, _ in world.delivered] == ["after the outage"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_refusal_is_complained_of_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = World(STANDARD_URL)
        world.answers = [SqsError(QUEUE_DOES_NOT_EXIST), [message("created at last")]]
        await world.poll_for(5)
        assert [name for name, _ in world.delivered] == ["created at last"]

    run(scenario())
    assert "does not exist" in caplog.text


def test_a_pause_ends_when_the_worker_stops() -> None:
    async def scenario() -> float:
        world = World(STANDARD_URL)
        world.answers = [ServiceUnreachable() for _ in range(20)]
        await world.poll_for(60)
        return asyncio.get_running_loop().time()

    assert run(scenario()) - 1000 == pytest.approx(60, abs=0.02)


def test_a_fifo_receive_without_an_answer_is_repeated_under_its_own_attempt_id() -> None:
    async def scenario() -> None:
        world = World(FIFO_URL)
        world.answers = [ServiceUnreachable(), [message("m", group_id="g")], []]
        await world.poll_for(3)
        first, second, third = (each.receive_request_attempt_id for each in world.receives[:3])
        assert first == second != third
        # The lease counts from the first try: SQS may have begun to count then.
        assert world.delivered == [("m", world.times_ms[0])]

    run(scenario())


def test_a_fifo_receive_is_not_repeated_when_its_messages_are_about_to_return() -> None:
    async def scenario() -> None:
        world = World(
            FIFO_URL, WorkerSettings(visibility_timeout_s=1, wait_s=2, concurrency=1, prefetch=0)
        )
        world.answers = [ServiceUnreachable() for _ in range(4)]
        await world.poll_for(8)
        attempts = [each.receive_request_attempt_id for each in world.receives]
        # The pauses are at most 0.5 s, 1 s, 2 s, … and the window is 0.5 s.
        assert attempts[0] == attempts[1]
        assert len(set(attempts[2:])) == len(attempts[2:])

    run(scenario())
