"""The in-process client over a broker that keeps everything in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from forebay.broker.broker import Broker
from forebay.broker.core.engine import Caller
from forebay.broker.journal.memory import MemoryJournal
from forebay.client.inprocess import InProcessSqsClient
from forebay.clock import ManualClock
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import (
    CreateQueueRequest,
    DeleteMessageRequest,
    ReceiveMessageRequest,
    SendMessageRequest,
)
from forebay.protocol.errors import SqsError


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    with ThreadPoolExecutor(1) as executor:
        broker = Broker(MemoryJournal(), executor=executor, clock=ManualClock())
        yield broker
        await broker.close()


async def test_a_message_lives_its_life_without_a_socket(broker: Broker) -> None:
    async with InProcessSqsClient(broker) as sqs:
        url = (await sqs.create_queue(CreateQueueRequest(queue_name="jobs"))).queue_url
        sent = await sqs.send_message(SendMessageRequest(queue_url=url, message_body="hello"))
        received = (await sqs.receive_message(ReceiveMessageRequest(queue_url=url))).messages
        assert received is not None
        assert [(each.message_id, each.body) for each in received] == [(sent.message_id, "hello")]
        await sqs.delete_message(
            DeleteMessageRequest(queue_url=url, receipt_handle=received[0].receipt_handle)
        )


async def test_a_refusal_is_raised_as_it_is(broker: Broker) -> None:
    with pytest.raises(SqsError, match="NonExistentQueue"):
        await InProcessSqsClient(broker).send_message(
            SendMessageRequest(queue_url="absent", message_body="hello")
        )


async def test_the_caller_owns_the_queues_it_makes(broker: Broker) -> None:
    caller = Caller("123456789012", "eu-west-1", "http://sqs.test")
    sqs = InProcessSqsClient(broker, caller=caller)
    url = (await sqs.create_queue(CreateQueueRequest(queue_name="jobs"))).queue_url
    assert url == "http://sqs.test/123456789012/jobs"


async def test_a_poll_that_is_cancelled_takes_no_message(broker: Broker) -> None:
    sqs = InProcessSqsClient(broker)
    url = (await sqs.create_queue(CreateQueueRequest(queue_name="jobs"))).queue_url
    poll = asyncio.create_task(
        sqs.receive_message(ReceiveMessageRequest(queue_url=url, wait_time_seconds=20))
    )
    await asyncio.sleep(0)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    await sqs.send_message(SendMessageRequest(queue_url=url, message_body="hello"))
    received = await sqs.receive_message(ReceiveMessageRequest(queue_url=url))
    assert len(received.messages or ()) == 1


async def test_a_broker_that_does_not_answer_is_unreachable(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def says_nothing(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(broker, "call", says_nothing)
    with pytest.raises(ServiceUnreachable, match=r"did not answer in 0\.01 s"):
        await InProcessSqsClient(broker).create_queue(
            CreateQueueRequest(queue_name="jobs"), timeout_s=0.01
        )
