"""The fault plane gets in the way at its rates, and breaks no promise."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.engine import Caller
from forebay.broker.faults import Deed, Fate, FaultySubmit, Unwitnessed
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.polls import Answer, Reply
from forebay.broker.running import running_broker
from forebay.client.http import HttpSqsClient
from forebay.client.retry import NO_RETRY
from forebay.clock import ManualClock, SystemClock
from forebay.fault_injection import FaultRates, SeededFaults
from forebay.protocol.actions import (
    AnyRequest,
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityRequest,
    CreateQueueRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageRequest,
    EmptyResult,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    ListQueuesRequest,
    Message,
    PurgeQueueRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.errors import (
    BATCH_ENTRY_IDS_NOT_DISTINCT,
    REQUEST_THROTTLED,
    SERVICE_UNAVAILABLE,
    SqsError,
)
from forebay.protocol.identifiers import QueueKey

CALLER = Caller("000000000000", "us-east-1", "http://sqs.test")

LOST = object()


async def quiet() -> None:
    """Let everything happen that waits for no clock."""
    for _ in range(20):
        await asyncio.sleep(0)


class Deeds(Unwitnessed):
    """Remembers what was done, and how calls ended."""

    def __init__(self) -> None:
        self.done: list[Deed] = []
        self.fates: list[Fate] = []

    def call(
        self, request: AnyRequest, queue: QueueKey | None, fate: Fate, answer: Answer | None
    ) -> None:
        self.fates.append(fate)

    def deed(self, deed: Deed, queue: QueueKey | None, message_id: str | None = None) -> None:
        self.done.append(deed)


class Client:
    """Asks a broker through a fault plane."""

    def __init__(self, rates: FaultRates) -> None:
        self.clock = ManualClock()
        self.broker = Broker(MemoryJournal(), executor=InlineExecutor(), clock=self.clock)
        self.deeds = Deeds()
        self.faulty = FaultySubmit(self.broker.submit, SeededFaults(rates), self.clock, self.deeds)

    async def call(self, request: AnyRequest) -> object:
        """The answer, or LOST."""
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def reply(result: Answer) -> None:
            answer.set_result(result)

        self.faulty.submit(request, CALLER, reply, lambda: answer.set_result(LOST))
        return await answer

    async def received(self, name: str) -> list[Message]:
        """What one receive through the fault plane brings."""
        result = await self.call(ReceiveMessageRequest(queue_url=name, max_number_of_messages=10))
        assert isinstance(result, ReceiveMessageResult)
        return result.messages or []

    async def create(self, name: str) -> None:
        attributes = {"VisibilityTimeout": "30"}
        if name.endswith(".fifo"):
            attributes |= {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        await self.broker.call(CreateQueueRequest(queue_name=name, attributes=attributes))

    async def fill(self, name: str, count: int) -> None:
        for number in range(count):
            group = "g" if name.endswith(".fifo") else None
            await self.broker.call(
                SendMessageRequest(queue_url=name, message_body=str(number), message_group_id=group)
            )

    async def drain_slowly(self, name: str) -> list[Message]:
        """Receive until a receive at the queue itself would bring nothing. Deletes nothing."""
        messages: list[Message] = []
        for _ in range(10):
            messages.extend(await self.received(name))
        return messages

    async def drain(self, name: str) -> list[str]:
        """Receive until nothing comes; the bodies in the order received. Deletes them all."""
        bodies: list[str] = []
        while True:
            request = ReceiveMessageRequest(queue_url=name, max_number_of_messages=10)
            result = await self.call(request)
            assert isinstance(result, ReceiveMessageResult)
            if not result.messages:
                return bodies
            bodies.extend(message.body for message in result.messages)
            for message in result.messages:
                if bodies.count(message.body) > 1 or name.endswith(".fifo"):
                    await self.broker.call(
                        DeleteMessageRequest(queue_url=name, receipt_handle=message.receipt_handle)
                    )


async def test_a_standard_queue_delivers_some_messages_twice() -> None:
    client = Client(FaultRates(duplicate=0.3))
    await client.create("jobs")
    await client.fill("jobs", 200)
    deliveries = Counter(await client.drain("jobs"))
    assert len(deliveries) == 200
    assert 30 <= sum(count > 1 for count in deliveries.values()) <= 100


async def test_a_fifo_queue_delivers_once_and_in_order_all_the_same() -> None:
    client = Client(FaultRates(duplicate=1, reorder=1))
    await client.create("orders.fifo")
    await client.fill("orders.fifo", 50)
    assert await client.drain("orders.fifo") == [str(number) for number in range(50)]


async def test_a_delivery_may_be_out_of_order() -> None:
    client = Client(FaultRates(reorder=1))
    await client.create("jobs")
    await client.fill("jobs", 10)
    bodies = await client.drain("jobs")
    assert bodies != [str(number) for number in range(10)]
    assert sorted(bodies) == [str(number) for number in range(10)]


async def test_a_call_whose_answer_is_lost_was_carried_out() -> None:
    client = Client(FaultRates(lose_reply=1))
    await client.create("jobs")
    request = SendMessageRequest(queue_url="jobs", message_body="a")
    assert await client.call(request) is LOST
    received = await client.broker.call(ReceiveMessageRequest(queue_url="jobs"))
    assert isinstance(received, ReceiveMessageResult)
    assert received.messages is not None


async def test_a_throttled_call_is_not_carried_out() -> None:
    client = Client(FaultRates(calls_per_second=2))
    await client.create("jobs")
    answers = [
        await client.call(SendMessageRequest(queue_url="jobs", message_body=str(number)))
        for number in range(4)
    ]
    refused = [answer for answer in answers if isinstance(answer, SqsError)]
    assert [refusal.fault for refusal in refused] == [REQUEST_THROTTLED] * 2
    client.clock.advance(1000)
    assert sorted(await client.drain("jobs")) == ["0", "1"]


async def test_some_calls_are_throttled_as_if_by_chance() -> None:
    client = Client(FaultRates(throttle=0.5))
    await client.create("jobs")
    for number in range(100):
        await client.call(SendMessageRequest(queue_url="jobs", message_body=str(number)))
    assert 30 < client.deeds.fates.count(Fate.THROTTLED) < 70
    assert client.deeds.fates.count(Fate.ANSWERED) == 100 - client.deeds.fates.count(Fate.THROTTLED)


async def test_a_message_comes_once_more_although_it_was_deleted_at_once() -> None:
    client = Client(FaultRates(duplicate=1))
    await client.create("jobs")
    await client.fill("jobs", 1)
    [first] = await client.received("jobs")
    for _ in range(2):
        gone = DeleteMessageRequest(queue_url="jobs", receipt_handle=first.receipt_handle)
        assert await client.call(gone) == EmptyResult()
    [second] = await client.received("jobs")
    assert (second.message_id, second.body) == (first.message_id, first.body)
    assert second.receipt_handle != first.receipt_handle
    assert client.deeds.done == [Deed.DOUBLED]
    gone = DeleteMessageRequest(queue_url="jobs", receipt_handle=second.receipt_handle)
    assert await client.call(gone) == EmptyResult()
    client.clock.advance(60_000)
    assert await client.received("jobs") == []


async def test_a_batch_deletes_what_will_not_come_again_and_answers_for_all() -> None:
    client = Client(FaultRates(duplicate=0.5))
    await client.create("jobs")
    await client.fill("jobs", 10)
    first = await client.received("jobs")
    entries: list[DeleteMessageBatchRequestEntry] = [
        DeleteMessageBatchRequestEntry(id=message.body, receipt_handle=message.receipt_handle)
        for message in first
    ]
    entries.append(DeleteMessageBatchRequestEntry(id="bad", receipt_handle="bad"))
    for batch in (entries[:5], entries[5:]):
        result = await client.call(DeleteMessageBatchRequest(queue_url="jobs", entries=batch))
        assert isinstance(result, BatchResult)
        done = [entry.id for entry in result.successful or []]
        failed = [entry.id for entry in result.failed or []]
        assert sorted([*done, *failed]) == sorted(entry.id for entry in batch)
        assert failed == [entry.id for entry in batch if entry.id == "bad"]
    again = await client.received("jobs")
    assert 0 < len(again) < 10
    assert {message.message_id for message in again} < {message.message_id for message in first}
    assert client.deeds.done == [Deed.DOUBLED] * len(again)


async def test_a_receiver_that_holds_on_to_a_doubled_message_is_not_refused() -> None:
    client = Client(FaultRates(duplicate=1))
    await client.create("jobs")
    await client.fill("jobs", 2)
    one, two = await client.received("jobs")
    extend = ChangeMessageVisibilityRequest(
        queue_url="jobs", receipt_handle=one.receipt_handle, visibility_timeout=60
    )
    assert await client.call(extend) == EmptyResult()
    both = ChangeMessageVisibilityBatchRequest(
        queue_url="jobs",
        entries=[
            ChangeMessageVisibilityBatchRequestEntry(
                id=message.body, receipt_handle=message.receipt_handle, visibility_timeout=60
            )
            for message in (one, two)
        ],
    )
    result = await client.call(both)
    assert isinstance(result, BatchResult)
    assert [entry.id for entry in result.successful or []] == ["0", "1"]
    assert len(await client.received("jobs")) == 2


async def test_a_batch_that_sqs_refuses_is_refused_whole_all_the_same() -> None:
    client = Client(FaultRates(duplicate=1))
    await client.create("jobs")
    await client.fill("jobs", 1)
    [message] = await client.received("jobs")
    entry = DeleteMessageBatchRequestEntry(id="a", receipt_handle=message.receipt_handle)
    refusal = await client.call(DeleteMessageBatchRequest(queue_url="jobs", entries=[entry] * 2))
    assert isinstance(refusal, SqsError)
    assert refusal.fault == BATCH_ENTRY_IDS_NOT_DISTINCT


async def test_what_cannot_come_again_is_deleted_when_its_receiver_said_so() -> None:
    """The message cannot be made visible: whatever carries requests out is away for a moment."""
    client = Client(FaultRates(duplicate=1))
    asked: list[AnyRequest] = []
    refused: list[Reply] = []

    def submit(request: AnyRequest, caller: Caller, reply: Reply) -> None:
        asked.append(request)
        if isinstance(request, ReceiveMessageRequest):
            message = Message(message_id="m", receipt_handle="h", md5_of_body="", body="")
            reply(ReceiveMessageResult(messages=[message]))
        elif isinstance(request, ChangeMessageVisibilityRequest):
            refused.append(reply)

    client.faulty = FaultySubmit(submit, SeededFaults(FaultRates(duplicate=1)), client.clock)
    await client.received("jobs")
    deletion = DeleteMessageRequest(queue_url="jobs", receipt_handle="h")
    assert await client.call(deletion) == EmptyResult()
    assert deletion not in asked
    refused[0](SqsError(SERVICE_UNAVAILABLE))
    assert asked[-1] == deletion


@pytest.mark.parametrize("queue", ["jobs", "orders.fifo"])
async def test_a_purge_takes_what_is_sent_within_the_minute_after_it(queue: str) -> None:
    client = Client(FaultRates(purge_loses=1))
    await client.create(queue)
    group = "g" if queue.endswith(".fifo") else None

    async def send(body: str) -> None:
        request = SendMessageRequest(queue_url=queue, message_body=body, message_group_id=group)
        assert isinstance(await client.call(request), SendMessageResult)

    await send("before")
    await client.call(PurgeQueueRequest(queue_url=queue))
    await send("at once")
    batch = [
        SendMessageBatchRequestEntry(id=body, message_body=body, message_group_id=group)
        for body in ("first", "second")
    ]
    await client.call(SendMessageBatchRequest(queue_url=queue, entries=batch))
    client.clock.advance(59_000)
    await send("late")
    client.clock.advance(1_000)
    await send("after the minute")
    assert [message.body for message in await client.received(queue)] == ["after the minute"]
    assert client.deeds.done == [Deed.PURGED] * 4
    attributes = GetQueueAttributesRequest(queue_url=queue, attribute_names=["All"])
    counts = await client.broker.call(attributes)
    assert isinstance(counts, GetQueueAttributesResult)
    assert counts.attributes is not None
    assert counts.attributes["ApproximateNumberOfMessages"] == "0"
    assert counts.attributes["ApproximateNumberOfMessagesNotVisible"] == "1"


async def test_a_purge_takes_some_at_a_rate_between() -> None:
    client = Client(FaultRates(purge_loses=0.5))
    await client.create("jobs")
    await client.call(PurgeQueueRequest(queue_url="jobs"))
    for number in range(40):
        await client.call(SendMessageRequest(queue_url="jobs", message_body=str(number)))
    left = len(await client.drain_slowly("jobs"))
    assert left == 40 - client.deeds.done.count(Deed.PURGED)
    assert 10 < left < 30


async def test_an_answer_is_held_back_in_the_time_of_the_queues() -> None:
    client = Client(FaultRates(latency_ms=1000))
    await client.broker.call(CreateQueueRequest(queue_name="jobs"))
    called = asyncio.create_task(client.received("jobs"))
    await quiet()
    assert client.deeds.done == [Deed.DELAYED]
    client.clock.advance(50)
    await quiet()
    assert not called.done()
    client.clock.advance(60_000)
    assert await called == []


async def test_what_is_held_back_is_let_go_at_the_end() -> None:
    client = Client(FaultRates(latency_ms=1000))
    await client.broker.call(CreateQueueRequest(queue_name="jobs"))
    called = asyncio.create_task(client.received("jobs"))
    await quiet()
    client.faulty.close()
    assert await called == []
    assert await client.received("jobs") == []


async def test_a_partition_cuts_what_is_under_way_and_lets_nothing_in() -> None:
    client = Client(FaultRates(partition_every_s=30, partition_for_s=5))
    await client.create("jobs")
    partition = SeededFaults(FaultRates(partition_every_s=30, partition_for_s=5)).partition(0)
    assert partition is not None
    await quiet()
    poll = ReceiveMessageRequest(queue_url="jobs", wait_time_seconds=20)
    waiting = asyncio.create_task(client.call(poll))
    await quiet()
    client.clock.advance(partition.begins_ms)
    assert await waiting is LOST
    send = SendMessageRequest(queue_url="jobs", message_body="a")
    assert await client.call(send) is LOST
    client.clock.advance(partition.ends_ms - partition.begins_ms)
    assert isinstance(await client.call(send), SendMessageResult)
    assert client.deeds.done == [Deed.PARTED]
    # The cut poll still waits at the queue, as one does whose client is not known to be gone.
    await quiet()
    assert client.deeds.fates == [Fate.CUT, Fate.ANSWERED, Fate.CUT]
    client.faulty.close()


async def test_calls_are_counted_by_the_clock_of_the_queues() -> None:
    plane = SeededFaults(FaultRates(calls_per_second=1))
    clock = SystemClock()
    async with (
        running_broker(None, faults=plane, time_scale=100_000) as server,
        HttpSqsClient(server.endpoint_url, retry=NO_RETRY) as sqs,
    ):
        for _ in range(3):
            await sqs.list_queues(ListQueuesRequest())
            before_ms = clock.monotonic_ms()
            while clock.monotonic_ms() == before_ms:
                """A millisecond here is more than a minute there."""


async def test_an_answer_is_late_by_the_clock_of_the_queues() -> None:
    plane = SeededFaults(FaultRates(latency_ms=3_600_000))
    async with (
        running_broker(None, faults=plane, time_scale=100_000) as server,
        HttpSqsClient(server.endpoint_url, retry=NO_RETRY) as sqs,
    ):
        await sqs.list_queues(ListQueuesRequest())
