"""Which leases are extended, when and to when; and what becomes of those that are not."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.client.fake import ScriptedSqsClient
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import (
    AnyRequest,
    BatchResult,
    BatchResultErrorEntry,
    ChangeMessageVisibilityBatchRequest,
)
from forebay.worker.heartbeat import Heartbeat, extensions_due, next_beat_ms
from forebay.worker.lease import Lease
from tests.runtime.virtual_time import LoopClock, run
from tests.runtime.worker_messages import lease

QUEUE_URL = "http://sqs.test/000000000000/jobs"

#: Twelve hours, less the second that is kept for the way from SQS to here.
LONGEST_MS = 43_200_000 - 1_000


@pytest.mark.parametrize(
    ("received_at_ms", "until_ms", "now_ms", "timeout_s"),
    [
        # Half of 30 s has to pass.
        (0, 30_000, 14_999, None),
        (0, 30_000, 15_000, 30),
        (0, 30_000, 29_999, 30),
        # From its end on the lease is over, whatever SQS would say.
        (0, 30_000, 30_000, None),
        # Towards 12 hours in flight the extension is shorter, and then there is none.
        (0, LONGEST_MS - 16_000, LONGEST_MS - 31_000, 30),
        (0, LONGEST_MS - 14_000, LONGEST_MS - 29_000, 29),
        (0, LONGEST_MS - 1_000, LONGEST_MS - 2_000, 2),
        (0, LONGEST_MS, LONGEST_MS - 2_000, None),
        (5_000, LONGEST_MS, LONGEST_MS - 2_000, 7),
    ],
)
def test_when_one_lease_is_extended_and_by_how_much(
    received_at_ms: int, until_ms: int, now_ms: int, timeout_s: int | None
) -> None:
    held = lease(received_at_ms=received_at_ms, until_ms=until_ms)
    due = extensions_due([held], now_ms, visibility_timeout_s=30, fraction=0.5)
    assert [extension.timeout_s for extension in due] == ([] if timeout_s is None else [timeout_s])


def test_leases_that_are_nearly_due_are_extended_together_with_one_that_is() -> None:
    due, nearly, later = lease(until_ms=15_000), lease(until_ms=18_000), lease(until_ms=18_001)
    together = extensions_due([due, nearly, later], 0, visibility_timeout_s=30, fraction=0.5)
    assert [extension.lease for extension in together] == [due, nearly]
    assert extensions_due([nearly, later], 0, visibility_timeout_s=30, fraction=0.5) == []


@given(
    now_ms=st.integers(0, 43_300_000),
    leases=st.lists(st.tuples(st.integers(0, 43_200_000), st.integers(1, 30_000)), max_size=20),
    fraction=st.floats(0.1, 0.9),
)
def test_no_lease_ends_before_the_next_beat_unless_it_has_reached_its_12_hours(
    now_ms: int, leases: list[tuple[int, int]], fraction: float
) -> None:
    held = [
        lease(received_at_ms=now_ms - age_ms, until_ms=now_ms + left_ms)
        for age_ms, left_ms in leases
    ]
    due = extensions_due(held, now_ms, visibility_timeout_s=30, fraction=fraction)
    for extension in due:
        extension.lease.until_ms = now_ms + extension.timeout_s * 1000
        assert extension.lease.until_ms <= extension.lease.received_at_ms + 43_200_000
    beat_ms = next_beat_ms(held, now_ms, visibility_timeout_s=30, fraction=fraction)
    for each in held:
        assert beat_ms <= each.until_ms


def is_lost(held: Lease) -> bool:
    return held.lost


class World:
    """A heartbeat over a script that says which handles SQS refuses, and why."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.outage = False
        self.gone: set[str] = set()
        self.latency_s = 0.01
        self.client = ScriptedSqsClient(self._answer)
        self.heartbeat = Heartbeat(
            self.client, QUEUE_URL, visibility_timeout_s=30, fraction=0.5, clock=self.clock
        )

    async def _answer(self, request: AnyRequest) -> BatchResult:
        assert isinstance(request, ChangeMessageVisibilityBatchRequest)
        await asyncio.sleep(self.latency_s)
        if self.outage:
            raise ServiceUnreachable
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
        held = lease(identifier, received_at_ms=now_ms, until_ms=now_ms + 30_000)
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
        await asyncio.sleep(300)
        now_ms = world.clock.monotonic_ms()
        assert not any(each.is_over(now_ms) for each in held)
        # Every 15 s: 10, 10 and 5.
        assert sorted(set(world.batches)) == [5, 10]
        assert len(world.batches) == 3 * 19
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
        assert not kept.is_over(world.clock.monotonic_ms())
        assert world.batches == [2, 1]
        beating.cancel()

    run(scenario())
    assert "The lease of message lost" in caplog.text


def test_an_outage_is_tried_again_every_second_and_costs_the_lease_only_at_its_end() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("m")
        world.outage = True
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


def test_an_outage_that_passes_in_time_costs_nothing() -> None:
    async def scenario() -> None:
        world = World()
        beating = asyncio.create_task(world.heartbeat.run())
        held = world.hold("m")
        world.outage = True
        await asyncio.sleep(25)
        world.outage = False
        await asyncio.sleep(60)
        assert not held.is_over(world.clock.monotonic_ms())
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
