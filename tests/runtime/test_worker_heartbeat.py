"""Which leases are extended, when and to when; and what becomes of those that are not."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.client.fake import ScriptedSqsClient
from forebay.clock import ManualClock
from forebay.errors import NoCredentials, ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    BatchResult,
    BatchResultErrorEntry,
    ChangeMessageVisibilityBatchRequest,
)
from forebay.worker.batch_calls import BatchCalls
from forebay.worker.heartbeat import Heartbeat, Rhythm, extensions_due
from forebay.worker.lease import Lease
from forebay.worker.loop_watch import LoopWatch
from tests.runtime.virtual_time import LoopClock, block, run
from tests.runtime.worker_messages import context, lease, message, source

QUEUE_URL = "http://sqs.test/000000000000/jobs"

#: Twelve hours, less the second that is kept for the way from SQS to here.
LONGEST_MS = 43_200_000 - 1_000


RHYTHM = Rhythm(visibility_timeout_s=30, fraction=0.5, longest_s=600)


@pytest.mark.parametrize(
    ("hidden_at_ms", "until_ms", "now_ms", "timeout_s"),
    [
        # Half of 30 s has to pass.
        (0, 30_000, 14_999, None),
        (0, 30_000, 15_000, 30),
        (0, 30_000, 29_999, 30),
        # From its end on the lease is over, whatever SQS would say.
        (0, 30_000, 30_000, None),
        # After a minute an extension is half of the time spent, up to ten minutes.
        (45_000, 75_000, 60_000, 30),
        (60_000, 90_000, 75_000, 37),
        (500_000, 750_000, 625_000, 312),
        (1_000_000, 1_500_000, 1_250_000, 600),
        (5_000_000, 5_600_000, 5_299_999, None),
        (5_000_000, 5_600_000, 5_300_000, 600),
        # Towards 12 hours in flight the extension is shorter, and then there is none.
        (LONGEST_MS - 46_000, LONGEST_MS - 16_000, LONGEST_MS - 31_000, 31),
        (LONGEST_MS - 31_000, LONGEST_MS - 1_000, LONGEST_MS - 2_000, 2),
        (LONGEST_MS - 30_000, LONGEST_MS, LONGEST_MS - 2_000, None),
    ],
)
def test_when_one_lease_is_extended_and_by_how_much(
    hidden_at_ms: int, until_ms: int, now_ms: int, timeout_s: int | None
) -> None:
    held = lease(hidden_at_ms=hidden_at_ms, until_ms=until_ms)
    due = extensions_due([held], now_ms, RHYTHM)
    assert [extension.timeout_s for extension in due] == ([] if timeout_s is None else [timeout_s])


def test_a_visibility_timeout_above_the_cap_is_kept() -> None:
    rhythm = Rhythm(visibility_timeout_s=3_600, fraction=0.5, longest_s=600)
    assert rhythm.extension_s(lease(until_ms=3_600_000), 1_800_000) == 3_600


def test_leases_that_are_nearly_due_are_extended_together_with_one_that_is() -> None:
    due, nearly, later = (
        lease(received_at_ms=since_ms, until_ms=since_ms + 30_000)
        for since_ms in (-15_000, -12_000, -11_999)
    )
    together = extensions_due([due, nearly, later], 0, RHYTHM)
    assert [extension.lease for extension in together] == [due, nearly]
    assert extensions_due([nearly, later], 0, RHYTHM) == []


@given(
    now_ms=st.integers(0, 43_300_000),
    leases=st.lists(
        st.tuples(st.integers(0, 43_200_000), st.integers(0, 600_000), st.integers(1, 600_000)),
        max_size=20,
    ),
    fraction=st.floats(0.1, 0.9),
)
def test_no_lease_ends_before_the_next_beat_unless_it_has_reached_its_12_hours(
    now_ms: int, leases: list[tuple[int, int, int]], fraction: float
) -> None:
    rhythm = Rhythm(visibility_timeout_s=30, fraction=fraction, longest_s=600)
    held = [
        lease(
            received_at_ms=now_ms - age_ms,
            hidden_at_ms=max(now_ms - age_ms, now_ms - hidden_ms),
            until_ms=now_ms + left_ms,
        )
        for age_ms, hidden_ms, left_ms in leases
    ]
    for extended, timeout_s in extensions_due(held, now_ms, rhythm):
        assert timeout_s <= max(30, (now_ms - extended.received_at_ms) / 2000)
        extended.hidden_at_ms, extended.until_ms = now_ms, now_ms + timeout_s * 1000
        assert extended.until_ms <= extended.received_at_ms + 43_200_000
    beat_ms = rhythm.next_beat_ms(held, now_ms)
    for each in held:
        assert beat_ms <= each.until_ms


def is_lost(held: Lease) -> bool:
    return held.lost


class World:
    """A heartbeat over a script that says which handles SQS refuses, and why."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.outage: Exception | None = None
        self.gone: set[str] = set()
        self.latency_s = 0.01
        self.client = ScriptedSqsClient(self._answer)
        self.context = context(self.client, clock=self.clock)
        calls = BatchCalls(self.context, QUEUE_URL)
        self.heartbeat = Heartbeat(self.context, calls, RHYTHM)
        self.source = source(self.context, QUEUE_URL)

    async def _answer(self, request: AnyRequest) -> BatchResult:
        assert isinstance(request, ChangeMessageVisibilityBatchRequest)
        await asyncio.sleep(self.latency_s)
        if self.outage is not None:
            raise self.outage
        return BatchResult(
            failed=[
                BatchResultErrorEntry(
                    id=entry.id, sender_fault=True, code="InvalidParameterValue", message="expired"
                )
                for entry in request.entries
                if entry.receipt_handle in self.gone
            ]
        )

    def hold(self, identifier: str) -> Lease:
        now_ms = self.clock.monotonic_ms()
        held = lease(identifier, received_at_ms=now_ms, until_ms=now_ms + 30_000, of=self.source)
        self.heartbeat.hold(held)
        return held

    @property
    def batches(self) -> list[int]:
        return [
            len(request.entries)
            for request in self.client.requests
            if isinstance(request, ChangeMessageVisibilityBatchRequest)
        ]


def test_one_extender_keeps_everything_that_is_held_in_batches_of_ten() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = [world.hold(f"m-{number}") for number in range(25)]
        await asyncio.sleep(55)
        assert not any(each.lost for each in held)
        # Every 15 s: 10, 10 and 5.
        assert sorted(world.batches) == [5, 5, 5, *[10] * 6]
        beating.cancel()

    run(scenario())


def test_a_lease_that_was_let_go_is_not_extended() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        world.heartbeat.let_go(world.hold("done"))
        await asyncio.sleep(60)
        assert world.batches == []
        beating.cancel()

    run(scenario())


def test_a_refused_extension_tells_the_message_that_its_lease_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        kept, lost = world.hold("kept"), world.hold("lost")
        world.gone.add(lost.message.receipt_handle)
        await asyncio.sleep(40)
        assert lost.lost
        assert not kept.lost
        assert world.batches == [2, 1]
        beating.cancel()

    run(scenario())
    assert "Lease lost, somebody else may get the message: lost of" in caplog.text


def test_an_outage_is_tried_again_every_second_and_costs_the_lease_only_at_its_end() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("m")
        world.outage = ServiceUnreachable()
        await asyncio.sleep(29)
        assert not is_lost(held)
        assert 13 <= len(world.batches) <= 15
        await asyncio.sleep(2)
        assert is_lost(held)
        tries = len(world.batches)
        await asyncio.sleep(30)
        assert len(world.batches) == tries
        beating.cancel()

    run(scenario())


@pytest.mark.parametrize("error", [NoCredentials(), ZeroDivisionError("of the client")])
def test_whatever_a_client_raises_is_said_once_and_costs_no_lease_that_lasts(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("m")
        world.outage = error
        await asyncio.sleep(25)
        world.outage = None
        await asyncio.sleep(60)
        assert not is_lost(held)
        beating.cancel()

    run(scenario())
    assert caplog.text.count("Changing the visibility of messages of") == 1


def test_an_outage_that_passes_in_time_costs_nothing() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("m")
        world.outage = ServiceUnreachable()
        await asyncio.sleep(25)
        world.outage = None
        await asyncio.sleep(60)
        assert not is_lost(held)
        beating.cancel()

    run(scenario())


def test_a_release_waits_for_the_extension_under_way_and_for_no_other() -> None:
    async def scenario() -> None:
        world = World()
        world.latency_s = 5
        beating = asyncio.create_task(world.heartbeat.run())
        extended = world.hold("extended")
        await asyncio.sleep(16)
        other = world.hold("other")
        started = asyncio.get_running_loop().time()
        await world.heartbeat.settled([other])
        assert asyncio.get_running_loop().time() == started
        await world.heartbeat.settled([extended])
        assert asyncio.get_running_loop().time() - started == pytest.approx(4)
        beating.cancel()

    run(scenario())


def test_a_job_of_two_hours_costs_tens_of_calls() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("long")
        longest_ms = 0
        for _ in range(7_200):
            await asyncio.sleep(1)
            assert not is_lost(held)
            longest_ms = max(longest_ms, held.until_ms - world.clock.monotonic_ms())
        assert 20 <= len(world.batches) <= 50
        # A worker that dies leaves its message hidden for no longer than this.
        assert longest_ms <= 600_000
        beating.cancel()

    run(scenario())


def test_a_job_of_thirteen_hours_loses_its_lease_after_twelve() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("too long")
        await asyncio.sleep(43_190)
        assert not is_lost(held)
        await asyncio.sleep(10)
        assert is_lost(held)
        beating.cancel()

    run(scenario())


def test_an_extension_that_is_answered_after_the_lease_ended_does_not_revive_it() -> None:
    async def scenario() -> None:
        world = World()
        world.latency_s = 20
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("m")
        await asyncio.sleep(36)
        assert is_lost(held)
        beating.cancel()

    run(scenario())


def test_a_handler_extends_its_own_lease_and_never_shortens_it() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("m")
        assert await world.heartbeat.extend(held, 10)
        assert world.batches == []
        assert await world.heartbeat.extend(held, 299.5)
        assert held.until_ms == world.clock.monotonic_ms() - 10 + 300_000
        await asyncio.sleep(149)
        assert world.batches == [1]
        world.outage = ServiceUnreachable()
        assert not await world.heartbeat.extend(held, 1_000)
        assert not is_lost(held)
        world.outage = None
        world.gone.add(held.message.receipt_handle)
        assert not await world.heartbeat.extend(held, 1_000)
        assert is_lost(held)
        assert not await world.heartbeat.extend(held, 10)
        beating.cancel()

    run(scenario())


def test_a_handler_that_blocks_the_loop_sees_that_its_lease_is_lost_and_the_log_names_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        world = World()
        watch = world.context.loop_watch
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("m")
        await asyncio.sleep(0.5)
        assert not is_lost(held)
        block(31)
        # Nothing else has run since.
        assert is_lost(held)
        for _ in range(3):
            await asyncio.sleep(5.3)
            block(2.5)
        assert watch.blocked_s == pytest.approx(30.5)
        assert world.batches == []
        await asyncio.sleep(70)
        assert watch.blocked_s == 0
        block(5)
        await asyncio.sleep(5)
        beating.cancel()

    run(scenario())
    warnings = [text for text in caplog.messages if "event loop" in text]
    assert ["30.5 s" in warnings[0], "a handler blocks it" in warnings[0]] == [True, True]
    assert len(warnings) == 2
    assert "Lease lost, somebody else may get the message: m of" in caplog.text


def test_what_is_read_after_the_loop_was_held_up_may_have_come_at_its_beginning() -> None:
    async def scenario() -> None:
        world = World()
        watch = world.context.loop_watch
        assert watch.held_since_ms() is None
        beating = asyncio.create_task(world.heartbeat.run())
        await asyncio.sleep(3.5)
        assert watch.held_since_ms() is None
        before_ms = world.clock.monotonic_ms()
        block(6)
        # Whoever comes to it first, the one who reads or the heartbeat.
        for _ in range(2):
            (taken,) = world.source.take_in([message()], world.clock.monotonic_ms())
            assert before_ms - 1_000 <= taken.received_at_ms <= before_ms
            assert taken.until_ms == taken.received_at_ms + 30_000
            # What was asked for afterwards cannot have come before.
            now_ms = world.clock.monotonic_ms()
            (taken,) = world.source.take_in([message()], now_ms, asked_ms=now_ms)
            assert taken.received_at_ms == now_ms
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        (taken,) = world.source.take_in([message()], world.clock.monotonic_ms())
        assert taken.received_at_ms == world.clock.monotonic_ms()
        beating.cancel()

    run(scenario())


async def test_a_clock_that_is_set_forward_is_no_blocked_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock(0)
    watch = LoopWatch(clock)
    sleeping = asyncio.create_task(watch.sleep_until(1_000))
    await asyncio.sleep(0)
    clock.advance(60_000)
    await sleeping
    assert watch.blocked_s == 0
    assert caplog.messages == []
