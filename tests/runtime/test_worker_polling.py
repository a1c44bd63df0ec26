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
    Line,
    Polling,
    Stock,
    behind_others,
    capacity,
    receive_limit,
    receives_to_start,
)
from forebay.worker.queue import HIGH, LOW, MEDIUM, Priority, Queue
from forebay.worker.queue_facts import queue_facts
from forebay.worker.receiving import Receiver
from forebay.worker.scheduler import Scheduler
from forebay.worker.settings import WorkerSettings
from forebay.worker.source import Source
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import context, message

STANDARD_URL = "http://sqs.test/000000000000/jobs"
FIFO_URL = "http://sqs.test/000000000000/orders.fifo"


@pytest.mark.parametrize(
    ("size", "concurrency", "fifo", "handling_s", "batch_handlers", "most"),
    [
        # Nothing is known of the handlers: what the buffer takes.
        (32, 16, False, None, 0, 32),
        (1, 1, False, None, 0, 1),
        # A FIFO receive of ten may be one group, so ten for each place.
        (32, 16, True, None, 0, 160),
        (104, 4, True, None, 0, 104),
        # In 15 s, half of the visibility timeout, 4 places handle 20 messages of 3 s.
        (104, 4, False, 3.0, 0, 20),
        (104, 4, True, 3.0, 0, 20),
        # Handlers outlast the visibility timeout.
        (104, 4, False, 60.0, 0, 1),
        # Handlers that take no time set no bound.
        (104, 4, False, 0.0, 0, 104),
        # One batch runs while the next gathers.
        (32, 16, False, None, 500, 1_000),
        (32, 16, False, 3.0, 500, 1_000),
    ],
)
def test_how_much_may_wait(
    size: int,
    concurrency: int,
    fifo: bool,
    handling_s: float | None,
    batch_handlers: int,
    most: int,
) -> None:
    assert (
        capacity(
            size,
            concurrency=concurrency,
            batch=10,
            handling_s=handling_s,
            visibility_timeout_s=30,
            batch_handlers=batch_handlers,
            fifo=fifo,
        )
        == most
    )


@pytest.mark.parametrize(
    ("handling_s", "most"),
    [
        # In 5 s 64 places handle 320 messages of a second, and a tenth of them is its share.
        (1.0, 32),
        # Fast handlers get to all that the buffer takes, slow ones to a single message.
        (0.001, 128),
        (10.0, 3),
        (100.0, 1),
        (None, 128),
    ],
)
def test_how_much_of_a_lower_class_may_wait_while_a_higher_one_has_messages(
    handling_s: float | None, most: int
) -> None:
    settings = WorkerSettings(age_bound_s=5, poll_share=0.1)
    assert behind_others(128, settings=settings, concurrency=64, handling_s=handling_s) == most


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
    assert receive_limit(10, fifo=fifo, handling_s=handling_s, visibility_timeout_s=30) == limit


def stock(
    free: int = 16, ready: int = 0, *, waiting: int = 0, most: int = 32, unconfirmed: int = 0
) -> Stock:
    return Stock(
        free=free,
        ready=ready,
        waiting=dict.fromkeys(Priority, waiting),
        capacity=dict.fromkeys(Priority, most),
        unconfirmed=unconfirmed,
    )


def line(
    name: str = "jobs",
    priority: Priority = MEDIUM,
    *,
    polls: int = 0,
    quiet: bool = False,
    free: int | None = None,
    visible: int = 0,
) -> Line:
    return Line(
        name=name,
        priority=priority,
        polls=polls,
        requested=polls * 10,
        quiet=quiet,
        free=free,
        visible=visible,
    )


def asked(
    lines: list[Line], in_hand: Stock, pollers: int = 4, scheduler: Scheduler | None = None
) -> list[tuple[str, int, bool]]:
    asks = receives_to_start(lines, in_hand, pollers, scheduler or Scheduler(), 0)
    return [(ask.queue, ask.count, ask.waits) for ask in asks]


@pytest.mark.parametrize(
    ("free", "ready", "waiting", "polls", "quiet", "counts"),
    [
        # 16 may begin and 32 may wait, in receives of ten, by four pollers.
        (16, 0, 0, 0, False, [10, 10, 10, 10]),
        (16, 0, 0, 1, False, [10, 10, 10]),
        (16, 0, 0, 3, False, [10]),
        (16, 0, 0, 4, False, []),
        # An empty queue gets one receive at a time.
        (16, 0, 0, 0, True, [10]),
        (16, 0, 0, 1, True, []),
        # Everything is busy and enough waits.
        (0, 32, 32, 0, False, []),
        # Less than a batch has room: what waits lasts until a whole one has.
        (0, 23, 23, 0, False, []),
        (0, 22, 22, 0, False, [10]),
        # Places are free: any number is worth a call.
        (6, 0, 30, 0, False, [8]),
        (6, 6, 30, 0, False, []),
    ],
)
def test_which_receives_start(
    free: int, ready: int, waiting: int, polls: int, quiet: bool, counts: list[int]
) -> None:
    in_hand = stock(free, ready, waiting=waiting)
    starts = asked([line(polls=polls, quiet=quiet)], in_hand)
    assert [count for _, count, _ in starts] == counts
    # Only the first receive of a queue waits for messages.
    assert [waits for _, _, waits in starts] == [not polls and not i for i in range(len(starts))]


def test_an_empty_high_queue_never_holds_back_a_low_one() -> None:
    lines = [line("high", HIGH, polls=1, quiet=True), line("low", LOW, polls=1)]
    assert asked(lines, stock(most=100)) == [("low", 10, False)] * 3


def test_long_polls_of_empty_queues_take_no_poller_from_a_busy_one() -> None:
    lines = [*(line(f"empty {n}", polls=1, quiet=True) for n in range(20)), line("busy", polls=1)]
    assert asked(lines, stock(most=1_000)) == [("busy", 10, False)] * 3


def test_every_queue_is_watched_even_beyond_the_pollers() -> None:
    lines = [line(name, quiet=True) for name in ("a", "b", "c")]
    assert [name for name, _, waits in asked(lines, stock(most=100), pollers=1) if waits] == [
        "a",
        "b",
        "c",
    ]


def test_a_queue_that_is_held_back_is_not_asked() -> None:
    lines = [line("held back", free=0), line("free", quiet=True)]
    assert asked(lines, stock()) == [("free", 10, True)]


def test_a_full_class_does_not_hold_back_another() -> None:
    in_hand = Stock(
        free=0,
        ready=32,
        waiting={HIGH: 0, MEDIUM: 0, LOW: 32},
        capacity=dict.fromkeys(Priority, 32),
    )
    lines = [line("low", LOW), line("high", HIGH)]
    assert {name for name, _, _ in asked(lines, in_hand)} == {"high"}


def test_no_receive_starts_while_sqs_does_not_confirm_deletions() -> None:
    assert asked([line()], stock(unconfirmed=UNCONFIRMED_MAX)) == []


@given(
    lines=st.lists(
        st.builds(
            line,
            st.sampled_from("abcdef"),
            st.sampled_from(Priority),
            polls=st.integers(0, 6),
            quiet=st.booleans(),
            free=st.none() | st.integers(0, 30),
            visible=st.integers(0, 10_000),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda each: each.name,
    ),
    pollers=st.integers(1, 12),
    free=st.integers(0, 40),
    ready=st.integers(0, 60),
    waiting=st.integers(0, 60),
    most=st.integers(1, 60),
)
def test_receives_stay_inside_every_bound_and_no_place_stays_free_for_nothing(
    lines: list[Line], pollers: int, free: int, ready: int, waiting: int, most: int
) -> None:
    in_hand = stock(free, ready, waiting=waiting, most=most)
    starts = asked(lines, in_hand, pollers)
    by_name = {each.name: each for each in lines}
    polls = sum(each.polls for each in lines if not each.quiet)
    busy = [name for name, _, _ in starts if not by_name[name].quiet]
    assert all(1 <= count <= 10 for _, count, _ in starts)
    for each in lines:
        count = sum(count for name, count, _ in starts if name == each.name)
        assert not count or each.free is None or each.requested + count <= each.free
    extra = [name for name, _, waits in starts if not waits]
    assert polls + len(busy) <= pollers or not extra
    assert not any(by_name[name].quiet for name in extra)
    requested = sum(each.requested for each in lines) + sum(count for _, count, _ in starts)
    for priority in Priority:
        of_class = [each for each in lines if each.priority is priority]
        before = sum(each.requested for each in of_class)
        added = sum(count for name, count, _ in starts if by_name[name].priority is priority)
        bound = most + max(0, free - ready)
        assert not added or waiting + before + added <= bound
        may_start = polls + len(busy) < pollers and any(
            each.free is None and not each.quiet for each in of_class
        )
        if may_start and waiting + before + added < most:
            assert ready + requested >= free


class World:
    """A poller over a script: what SQS answers next, and what became of it."""

    def __init__(
        self, url: str, settings: WorkerSettings | None = None, *, visibility_timeout_s: int = 30
    ) -> None:
        self.answers: list[list[Message] | Exception] = []
        self.delivered: list[tuple[str, int]] = []
        self.times_ms: list[int] = []
        self.client = ScriptedSqsClient(self._answer)
        self.clock = LoopClock()
        settings = settings or WorkerSettings(wait_s=2)
        self.source = Source(
            context(self.client, clock=self.clock, settings=settings),
            Queue(url),
            queue_facts(url, {"VisibilityTimeout": str(visibility_timeout_s)}),
        )
        self.stopped, woken = asyncio.Event(), asyncio.Event()
        self.receiver = Receiver(
            self.client,
            self.source,
            settings,
            clock=self.clock,
            entropy=random.Random(1).randbytes,
            stopped=self.stopped,
            deliver=self._deliver,
            ended=woken.set,
        )
        self.woken = woken
        self.polling = Polling(
            [self.receiver],
            settings,
            clock=self.clock,
            scheduler=Scheduler(),
            stock=lambda: stock(1, most=10),
            lines=lambda: [
                Line(
                    name=self.source.name,
                    priority=MEDIUM,
                    polls=self.receiver.polls,
                    requested=self.receiver.requested,
                )
            ],
            woken=woken,
            stopped=self.stopped,
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

    def _deliver(self, messages: list[Message], taken_ms: int, _: int) -> None:
        self.delivered += [(each.message_id, taken_ms) for each in messages]

    async def poll_for(self, duration_s: float) -> None:
        polling = asyncio.create_task(self.polling.run())
        await asyncio.sleep(duration_s)
        self.stopped.set()
        self.woken.set()
        await polling


def test_a_receive_asks_for_what_the_worker_needs() -> None:
    async def scenario() -> None:
        world = World(STANDARD_URL, WorkerSettings(wait_s=3), visibility_timeout_s=45)
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
        assert world.polling.polls == 0

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
    bounds_s = [0.5, 1, 2, 4, 8, 10, 10, 10]
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
        world = World(FIFO_URL, visibility_timeout_s=1)
        world.answers = [ServiceUnreachable() for _ in range(4)]
        await world.poll_for(8)
        attempts = [each.receive_request_attempt_id for each in world.receives]
        # The pauses are at most 0.5 s, 1 s, 2 s, … and the window is 0.5 s.
        assert attempts[0] == attempts[1]
        assert len(set(attempts[2:])) == len(attempts[2:])

    run(scenario())


def test_silence_is_counted_from_the_receive_that_nobody_answers() -> None:
    async def scenario() -> None:
        world = World(STANDARD_URL)
        world.answers = [[message("m")]]
        await world.poll_for(1)
        receiver = world.receiver
        answered_ms = receiver.silent_since_ms
        assert answered_ms is not None
        await asyncio.sleep(600)
        # Held back for ten minutes, and then asked again: that is no stall.
        receiver.begin(1, 2)
        assert receiver.silent_since_ms == world.clock.monotonic_ms()

    run(scenario())


def test_silence_lasts_as_long_as_receives_fail() -> None:
    async def scenario() -> None:
        world = World(STANDARD_URL)
        world.answers = [[message("m")], *(ServiceUnreachable() for _ in range(30))]
        await world.poll_for(100)
        silent_since_ms = world.receiver.silent_since_ms
        assert silent_since_ms is not None
        assert silent_since_ms - world.times_ms[0] < 1_000

    run(scenario())
