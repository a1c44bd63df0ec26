"""The fault plane gets in the way at its rates, and breaks no promise."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.engine import Caller
from forebay.broker.faults import FaultySubmit, read_rates
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.polls import Answer
from forebay.clock import ManualClock
from forebay.errors import SettingsError
from forebay.fault_injection import FIFO_CALLS_PER_SECOND, FaultRates, SeededFaults
from forebay.protocol.actions import (
    AnyRequest,
    CreateQueueRequest,
    DeleteMessageRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
)
from forebay.protocol.errors import REQUEST_THROTTLED, SqsError

CALLER = Caller("000000000000", "us-east-1", "http://sqs.test")

LOST = object()


class Client:
    """Asks a broker through a fault plane."""

    def __init__(self, rates: FaultRates) -> None:
        self.clock = ManualClock()
        self.broker = Broker(MemoryJournal(), executor=InlineExecutor(), clock=self.clock)
        self.faulty = FaultySubmit(self.broker, SeededFaults(rates), self.clock)

    async def call(self, request: AnyRequest) -> object:
        """The answer, or LOST."""
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def reply(result: Answer) -> None:
            answer.set_result(result)

        self.faulty.submit(request, CALLER, reply, lambda: answer.set_result(LOST))
        return await answer

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


@pytest.mark.parametrize(("queue", "refused"), [("jobs", 0), ("orders.fifo", 50)])
def test_fifo_limits_are_awss(queue: str, refused: int) -> None:
    plane = SeededFaults(FaultRates(fifo_limits=True))
    fifo = queue.endswith(".fifo")
    calls = [
        plane.throttles("SendMessage", queue, fifo=fifo, now_ms=0)
        for _ in range(FIFO_CALLS_PER_SECOND + 50)
    ]
    assert sum(calls) == refused
    assert not plane.throttles("SendMessage", queue, fifo=fifo, now_ms=1000)


def test_latency_has_its_median_and_a_tail() -> None:
    plane = SeededFaults(FaultRates(latency_ms=10))
    drawn = sorted(plane.latency_s() for _ in range(2000))
    assert 0.009 < drawn[1000] < 0.011
    assert 0.035 < drawn[1980] < 0.07


def test_the_same_seed_draws_the_same_faults() -> None:
    def draw(seed: int) -> list[bool]:
        plane = SeededFaults(FaultRates(seed=seed, duplicate=0.5))
        return [plane.duplicates() for _ in range(50)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("duplicate = 1.5", "duplicate is 1.5; it must be 0 to 1"),
        ("latency_ms = -1", "latency_ms is -1.0; it must not be negative"),
        ("dupe = 1", "dupe"),
        ("duplicate = 'often'", "duplicate"),
        ("= 1", "could not be read"),
    ],
)
def test_rates_that_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=complaint):
        read_rates(path)
