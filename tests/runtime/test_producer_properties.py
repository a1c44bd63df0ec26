"""Whatever SQS does, every message is accounted for, and FIFO groups keep their order."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from enum import Enum

from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.errors import BufferFull, ForebayError, ServiceUnreachable
from forebay.messages.envelope import decode_envelope
from forebay.producer.producer import Producer, Published
from forebay.producer.settings import ProducerSettings
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SERVICE_UNAVAILABLE, SqsError
from tests.runtime.producer_queue import FIFO, STANDARD, account, acknowledge
from tests.runtime.virtual_time import LoopClock, run


class Fault(Enum):
    """What happens to one call."""

    NONE = "none"
    SLOW = "slow"
    #: The request never arrives.
    LOST_REQUEST = "lost request"
    #: The request is carried out and its answer lost.
    LOST_REPLY = "lost reply"
    UNAVAILABLE = "unavailable"
    #: The last message fails and may be sent again.
    PARTLY = "partly"
    #: The first message is refused for good.
    REFUSED_ENTRY = "refused entry"
    REFUSED = "refused"
    BUG = "bug"


class UnreliableQueue(SqsClient):
    """A queue with faults, which knows what it took and what it told."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        #: Envelope ids in the order in which the queue first took them, by group.
        self.taken: dict[str | None, list[str]] = defaultdict(list)
        #: How often each envelope was acknowledged to the producer.
        self.acknowledged: Counter[str] = Counter()
        self.under_way: list[SendMessageBatchRequest] = []
        self.most_under_way = 0
        #: What must hold whenever a call begins.
        self.check: Callable[[], None] = lambda: None
        #: What did not: the producer would take an assertion for a failed call.
        self.violations: list[AssertionError] = []

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        assert isinstance(request, SendMessageBatchRequest)
        try:
            self._check(request)
        except AssertionError as error:
            self.violations.append(error)
        self.under_way.append(request)
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        try:
            await asyncio.sleep(0.01)
            return await self._answer(request, self.faults.pop(0) if self.faults else Fault.NONE)
        finally:
            self.under_way.remove(request)

    def _check(self, request: SendMessageBatchRequest) -> None:
        self.check()
        if request.queue_url == FIFO:
            busy = {entry.message_group_id for other in self.under_way for entry in other.entries}
            assert busy.isdisjoint(entry.message_group_id for entry in request.entries)

    async def _answer(self, request: SendMessageBatchRequest, fault: Fault) -> AnyResult:
        entries = request.entries
        failed: dict[int, bool] = {}
        match fault:
            case Fault.SLOW:
                await asyncio.sleep(1)
            case Fault.LOST_REQUEST:
                raise ServiceUnreachable
            case Fault.LOST_REPLY:
                self._take(entries, {})
                raise ServiceUnreachable
            case Fault.UNAVAILABLE:
                raise SqsError(SERVICE_UNAVAILABLE)
            case Fault.REFUSED:
                raise SqsError(QUEUE_DOES_NOT_EXIST)
            case Fault.BUG:
                raise KeyError("bug")
            case Fault.PARTLY:
                failed = {len(entries) - 1: False}
            case Fault.REFUSED_ENTRY:
                failed = {0: True}
        self._take(entries, failed)
        for place, entry in enumerate(entries):
            if place not in failed:
                self.acknowledged[envelope_id(entry)] += 1
        return acknowledge(request, failed)

    def _take(self, entries: list[SendMessageBatchRequestEntry], failed: dict[int, bool]) -> None:
        for place, entry in enumerate(entries):
            taken = self.taken[entry.message_group_id]
            if place not in failed and envelope_id(entry) not in taken:
                taken.append(envelope_id(entry))


def envelope_id(entry: SendMessageBatchRequestEntry) -> str:
    return decode_envelope(entry.message_body).id


def number(envelope_id: str) -> int:
    """The place of an envelope among all that its producer made."""
    return int(envelope_id.rpartition("-")[2])


#: Longer than all the faults of one example together.
ENDLESS_S = 600.0

GROUPS = st.sampled_from("ABC")
STEPS = st.one_of(
    st.tuples(st.just("send"), GROUPS),
    st.tuples(st.just("publish"), GROUPS),
    st.tuples(st.just("sleep"), st.integers(min_value=0, max_value=300)),
    st.tuples(st.just("resize"), st.integers(min_value=1, max_value=20)),
)


@settings(deadline=None)
@given(
    fifo=st.booleans(),
    steps=st.lists(STEPS, max_size=60),
    faults=st.lists(st.sampled_from(Fault), max_size=30),
    concurrency=st.integers(min_value=1, max_value=4),
    drain_timeout_s=st.sampled_from([0.0, 0.05, ENDLESS_S]),
)
def test_every_message_is_accounted_for(
    fifo: bool,
    steps: list[tuple[str, str | int]],
    faults: list[Fault],
    concurrency: int,
    drain_timeout_s: float,
) -> None:
    async def main() -> None:
        queue = UnreliableQueue(faults)
        producer = Producer(
            queue,
            FIFO if fifo else STANDARD,
            node="node-1",
            settings=ProducerSettings(batch_size=4, buffer_size=20, concurrency=concurrency),
            retry=RetryPolicy(deadline_ms=2_000),
            clock=LoopClock(),
        )
        refused = 0
        offered = 0
        publishing: list[asyncio.Task[Published]] = []

        async def publish(group: str) -> Published:
            nonlocal offered
            offered += 1
            return await producer.publish("order", offered, group_id=group)

        def check() -> None:
            assert producer.ledger.offered == offered
            assert producer.ledger.buffered <= 20
            assert producer.ledger.delivered <= queue.acknowledged.total()
            account(producer.ledger)

        queue.check = check
        await producer.start()
        for what, value in steps:
            match what:
                case "send":
                    offered += 1
                    refused += not producer.send("order", offered, group_id=str(value))
                case "publish":
                    publishing.append(asyncio.create_task(publish(str(value))))
                    await asyncio.sleep(0)
                case "sleep":
                    await asyncio.sleep(int(value) / 1000)
                case "resize":
                    producer.settings = ProducerSettings(
                        batch_size=4, buffer_size=int(value), concurrency=concurrency
                    )
            check()
        ledger = await producer.close(drain_timeout_s)
        results = await asyncio.gather(*publishing, return_exceptions=True)
        published = [result for result in results if isinstance(result, Published)]
        errors = [result for result in results if isinstance(result, ForebayError)]
        assert len(published) + len(errors) == len(results)

        assert queue.violations == []
        _, sent, dropped, failed, buffered = account(ledger)
        assert ledger.offered == offered
        assert buffered == 0
        assert dropped == refused + sum(isinstance(error, BufferFull) for error in errors)
        assert sent == len(queue.acknowledged) == queue.acknowledged.total()
        assert all(each.envelope_id in queue.acknowledged for each in published)
        assert queue.most_under_way <= concurrency
        if drain_timeout_s == ENDLESS_S and not may_refuse:
            assert failed == sum(not isinstance(error, BufferFull) for error in errors)
        if fifo:
            for taken in queue.taken.values():
                assert [number(each) for each in taken] == sorted(number(each) for each in taken)

    may_refuse = not {Fault.REFUSED, Fault.REFUSED_ENTRY, Fault.BUG}.isdisjoint(faults)
    run(main())
