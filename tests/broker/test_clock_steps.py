"""What a step of the machine's clock does to messages: nothing, while the broker runs."""

from __future__ import annotations

import asyncio

import pytest

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.journal.memory import MemoryJournal
from forebay.protocol.actions import (
    PurgeQueueRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)
from forebay.protocol.errors import SqsError
from tests.broker.journals import FailingJournal
from tests.broker.test_broker import bodies, create, in_virtual_time, receive, send
from tests.runtime.virtual_time import LoopClock, run

HOUR_MS = 3_600_000
STEPS_MS = [HOUR_MS, -HOUR_MS, 10_000 * HOUR_MS, -10_000 * HOUR_MS]


class SteppingClock(LoopClock):
    """A clock that somebody sets."""

    def __init__(self, step_ms: int = 0) -> None:
        #: How far the wall clock was set forward.
        self.step_ms = step_ms

    def wall_ms(self) -> int:
        # Far enough from zero that it can be set back.
        return super().wall_ms() + 1_700_000_000_000 + self.step_ms


def broker_with(clock: SteppingClock, journal: MemoryJournal, time_scale: float = 1.0) -> Broker:
    return Broker(
        journal, executor=InlineExecutor(), clock=clock, entropy=bytes, time_scale=time_scale
    )


async def fill(broker: Broker) -> None:
    """A message that is hidden for 60 s, one that is delayed for 30 s; both expire after 120 s."""
    await create(broker, VisibilityTimeout="60", MessageRetentionPeriod="120")
    await broker.call(send("jobs", "hidden"))
    assert await bodies(broker.call(receive("jobs"))) == ["hidden"]
    await broker.call(send("jobs", "delayed", delay_seconds=30))


async def peek(broker: Broker) -> list[str]:
    """What can be received, received without hiding it."""
    request = ReceiveMessageRequest(
        queue_url="jobs", max_number_of_messages=10, visibility_timeout=0
    )
    return sorted(await bodies(broker.call(request)))


@pytest.mark.parametrize("step_ms", STEPS_MS)
@pytest.mark.parametrize("rebuilt", [False, True])
@in_virtual_time
async def test_a_step_while_the_broker_runs_releases_and_expires_nothing_early_or_late(
    step_ms: int, *, rebuilt: bool
) -> None:
    clock, journal = SteppingClock(), FailingJournal()
    broker = broker_with(clock, journal)
    await fill(broker)
    clock.step_ms = step_ms
    if rebuilt:
        journal.failing_commits = 1
        with pytest.raises(SqsError, match="ServiceUnavailable"):
            await create(broker, "others")
    for until_s, receivable in [
        (29.9, []),
        (30.1, ["delayed"]),
        (59.9, ["delayed"]),
        (60.1, ["delayed", "hidden"]),
        (119.9, ["delayed", "hidden"]),
        (120.1, []),
    ]:
        await asyncio.sleep(until_s - (asyncio.get_running_loop().time() - 1000))
        assert await peek(broker) == receivable


@pytest.mark.parametrize("step_ms", [-1, -HOUR_MS, -10_000 * HOUR_MS])
def test_time_goes_on_from_the_journal_when_the_clock_was_set_back_between_two_runs(
    step_ms: int,
) -> None:
    journal = MemoryJournal()

    async def first_run() -> None:
        broker = broker_with(SteppingClock(), journal)
        await fill(broker)
        await broker.close()

    async def second_run() -> None:
        broker = broker_with(SteppingClock(step_ms), journal)
        for until_s, receivable in [
            (29.9, []),
            (30.1, ["delayed"]),
            (60.1, ["delayed", "hidden"]),
            (119.9, ["delayed", "hidden"]),
            (120.1, []),
        ]:
            await asyncio.sleep(until_s - (asyncio.get_running_loop().time() - 1000))
            assert await peek(broker) == receivable

    run(first_run())
    run(second_run())


def test_a_step_forward_between_two_runs_is_time_that_the_broker_was_away() -> None:
    """Nothing tells the two apart."""
    journal = MemoryJournal()

    async def first_run() -> None:
        broker = broker_with(SteppingClock(), journal)
        await fill(broker)
        await broker.close()

    async def second_run() -> None:
        broker = broker_with(SteppingClock(45_000), journal)
        assert await peek(broker) == ["delayed"]
        await asyncio.sleep(15.1)
        assert await peek(broker) == ["delayed", "hidden"]

    run(first_run())
    run(second_run())


@pytest.mark.parametrize("time_scale", [1.0, 60.0])
@pytest.mark.parametrize("step_ms", [0, *STEPS_MS])
@in_virtual_time
async def test_sent_timestamp_follows_the_wall_clock(step_ms: int, time_scale: float) -> None:
    clock = SteppingClock()
    broker = broker_with(clock, MemoryJournal(), time_scale)
    await create(broker)
    await asyncio.sleep(100)
    clock.step_ms = step_ms
    await broker.call(send("jobs"))
    result = await broker.call(
        ReceiveMessageRequest(queue_url="jobs", message_system_attribute_names=["All"])
    )
    assert isinstance(result, ReceiveMessageResult)
    [message] = result.messages or []
    shown = message.attributes or {}
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert abs(int(shown[name]) - clock.wall_ms()) <= 1


@pytest.mark.parametrize("step_ms", STEPS_MS)
@in_virtual_time
async def test_a_step_neither_shortens_nor_lengthens_the_wait_between_two_purges(
    step_ms: int,
) -> None:
    clock = SteppingClock()
    broker = broker_with(clock, MemoryJournal())
    await create(broker)
    await broker.call(PurgeQueueRequest(queue_url="jobs"))
    clock.step_ms = step_ms
    await asyncio.sleep(59.9)
    with pytest.raises(SqsError, match="PurgeQueueInProgress"):
        await broker.call(PurgeQueueRequest(queue_url="jobs"))
    await asyncio.sleep(0.2)
    await broker.call(PurgeQueueRequest(queue_url="jobs"))
