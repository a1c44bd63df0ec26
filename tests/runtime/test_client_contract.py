"""What every client promises, over HTTP and inside the process, against the embedded broker."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvloop

from forebay.broker.broker import Broker
from forebay.broker.embedded import EmbeddedBroker
from forebay.broker.journal.memory import MemoryJournal
from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.client.inprocess import InProcessSqsClient
from forebay.errors import SettingsError
from forebay.messages.envelope import decode_envelope
from forebay.producer.producer import Producer
from forebay.protocol.actions import (
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityRequest,
    CreateQueueRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageRequest,
    DeleteQueueRequest,
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListQueuesRequest,
    ListQueueTagsRequest,
    Message,
    MessageAttributeValue,
    PurgeQueueRequest,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
    SetQueueAttributesRequest,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.sigv4 import Credentials


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(params=["http", "in-process"])
async def sqs(request: pytest.FixtureRequest, embedded: EmbeddedBroker) -> AsyncIterator[SqsClient]:
    if request.param == "http":
        async with HttpSqsClient(
            embedded.endpoint_url, credentials=Credentials("test", "test"), environment={}
        ) as client:
            yield client
        return
    with ThreadPoolExecutor(1) as executor:
        broker = Broker(MemoryJournal(), executor=executor)
        async with InProcessSqsClient(broker) as client:
            yield client
        await broker.close()


@pytest.fixture
async def queue_url(sqs: SqsClient, request: pytest.FixtureRequest) -> str:
    """A standard queue of this test's own."""
    return await create(sqs, queue_name(request))


@pytest.fixture
async def fifo_url(sqs: SqsClient, request: pytest.FixtureRequest) -> str:
    """A FIFO queue of this test's own."""
    return await create(sqs, f"{queue_name(request)[:75]}.fifo", FifoQueue="true")


def queue_name(request: pytest.FixtureRequest) -> str:
    name: str = request.node.name
    return name.replace("[", "-").replace("]", "")[-80:]


async def create(sqs: SqsClient, name: str, **attributes: str) -> str:
    request = CreateQueueRequest(queue_name=name, attributes=attributes or None)
    return (await sqs.create_queue(request)).queue_url


async def receive(sqs: SqsClient, queue_url: str, wait_time_seconds: int = 0) -> list[Message]:
    request = ReceiveMessageRequest(
        queue_url=queue_url,
        max_number_of_messages=10,
        message_attribute_names=["All"],
        message_system_attribute_names=["All"],
        wait_time_seconds=wait_time_seconds,
    )
    return (await sqs.receive_message(request)).messages or []


async def test_a_message_is_sent_received_and_deleted(sqs: SqsClient, queue_url: str) -> None:
    sent = await sqs.send_message(
        SendMessageRequest(
            queue_url=queue_url,
            message_body='grüße "\u2028" \U0001f39f',
            message_attributes={
                "kind": MessageAttributeValue(data_type="String", string_value="order"),
                "digest": MessageAttributeValue(data_type="Binary", binary_value=b"\x00\xff"),
            },
        )
    )
    (received,) = await receive(sqs, queue_url)
    assert received.message_id == sent.message_id
    assert received.body == 'grüße "\u2028" \U0001f39f'
    assert received.md5_of_message_attributes == sent.md5_of_message_attributes
    assert received.message_attributes is not None
    assert received.message_attributes["digest"].binary_value == b"\x00\xff"
    assert (received.attributes or {})["ApproximateReceiveCount"] == "1"
    await sqs.delete_message(
        DeleteMessageRequest(queue_url=queue_url, receipt_handle=received.receipt_handle)
    )
    attributes = await sqs.get_queue_attributes(
        GetQueueAttributesRequest(queue_url=queue_url, attribute_names=["All"])
    )
    assert (attributes.attributes or {})["ApproximateNumberOfMessagesNotVisible"] == "0"


async def test_batches_tell_each_entry_apart(sqs: SqsClient, queue_url: str) -> None:
    sent = await sqs.send_message_batch(
        SendMessageBatchRequest(
            queue_url=queue_url,
            entries=[
                SendMessageBatchRequestEntry(id="good", message_body="hello"),
                SendMessageBatchRequestEntry(id="bad", message_body="\uffff"),
            ],
        )
    )
    assert [entry.id for entry in sent.successful or ()] == ["good"]
    assert [(entry.id, entry.sender_fault) for entry in sent.failed or ()] == [("bad", True)]

    (received,) = await receive(sqs, queue_url)
    changed = await sqs.change_message_visibility_batch(
        ChangeMessageVisibilityBatchRequest(
            queue_url=queue_url,
            entries=[
                ChangeMessageVisibilityBatchRequestEntry(
                    id="good", receipt_handle=received.receipt_handle, visibility_timeout=60
                )
            ],
        )
    )
    assert [entry.id for entry in changed.successful or ()] == ["good"]
    deleted = await sqs.delete_message_batch(
        DeleteMessageBatchRequest(
            queue_url=queue_url,
            entries=[
                DeleteMessageBatchRequestEntry(id="good", receipt_handle=received.receipt_handle),
                DeleteMessageBatchRequestEntry(id="bad", receipt_handle="garbage"),
            ],
        )
    )
    assert [entry.id for entry in deleted.successful or ()] == ["good"]
    assert [(entry.id, entry.code) for entry in deleted.failed or ()] == [
        ("bad", "ReceiptHandleIsInvalid")
    ]
    changed = await sqs.change_message_visibility_batch(
        ChangeMessageVisibilityBatchRequest(
            queue_url=queue_url,
            entries=[
                ChangeMessageVisibilityBatchRequestEntry(
                    id="gone", receipt_handle=received.receipt_handle, visibility_timeout=0
                )
            ],
        )
    )
    [failed] = changed.failed or []
    assert (failed.code, failed.sender_fault, failed.message) == (
        "ReceiptHandleIsInvalid",
        True,
        "Message does not exist or is not available for visibility timeout change",
    )


async def test_a_visible_again_message_is_received_again(sqs: SqsClient, queue_url: str) -> None:
    await sqs.send_message(SendMessageRequest(queue_url=queue_url, message_body="hello"))
    (first,) = await receive(sqs, queue_url)
    await sqs.change_message_visibility(
        ChangeMessageVisibilityRequest(
            queue_url=queue_url, receipt_handle=first.receipt_handle, visibility_timeout=0
        )
    )
    (again,) = await receive(sqs, queue_url)
    assert (again.attributes or {})["ApproximateReceiveCount"] == "2"


async def test_a_queue_is_found_described_changed_and_removed(
    sqs: SqsClient, queue_url: str
) -> None:
    name = queue_url.rpartition("/")[2]
    found = await sqs.get_queue_url(GetQueueUrlRequest(queue_name=name))
    assert found.queue_url == queue_url
    assert queue_url in ((await sqs.list_queues(ListQueuesRequest())).queue_urls or ())
    await sqs.set_queue_attributes(
        SetQueueAttributesRequest(queue_url=queue_url, attributes={"VisibilityTimeout": "7"})
    )
    described = await sqs.get_queue_attributes(
        GetQueueAttributesRequest(queue_url=queue_url, attribute_names=["VisibilityTimeout"])
    )
    assert described.attributes == {"VisibilityTimeout": "7"}
    await sqs.purge_queue(PurgeQueueRequest(queue_url=queue_url))
    await sqs.delete_queue(DeleteQueueRequest(queue_url=queue_url))
    with pytest.raises(SqsError) as refusal:
        await sqs.get_queue_url(GetQueueUrlRequest(queue_name=name))
    assert refusal.value.code == "AWS.SimpleQueueService.NonExistentQueue"


async def test_a_queue_is_created_from_plain_values_with_its_dead_letter_queue(
    sqs: SqsClient, request: pytest.FixtureRequest
) -> None:
    name, dead = f"{queue_name(request)[:50]}.fifo", f"{queue_name(request)[:50]}-dlq.fifo"
    attributes: dict[str, Any] = {"VisibilityTimeout": 30, "ContentBasedDeduplication": True}
    created = await sqs.create_queue(
        name, dead_letter_queue=dead, max_receive_count=2, tags={"team": "a"}, **attributes
    )
    again = await sqs.create_queue(
        name, dead_letter_queue=dead, max_receive_count=2, tags={"team": "a"}, **attributes
    )
    assert again == created
    found = (
        await sqs.get_queue_attributes(
            GetQueueAttributesRequest(queue_url=created.queue_url, attribute_names=["All"])
        )
    ).attributes or {}
    assert (found["FifoQueue"], found["VisibilityTimeout"]) == ("true", "30")
    assert found["ContentBasedDeduplication"] == "true"
    policy = json.loads(found["RedrivePolicy"])
    assert policy["maxReceiveCount"] == 2
    assert await sqs.queue_url(policy["deadLetterTargetArn"]) == await sqs.queue_url(dead)
    kept = await sqs.get_queue_attributes(
        GetQueueAttributesRequest(
            queue_url=await sqs.queue_url(dead), attribute_names=["MessageRetentionPeriod"]
        )
    )
    assert kept.attributes == {"MessageRetentionPeriod": "1209600"}
    tags = await sqs.list_queue_tags(ListQueueTagsRequest(queue_url=created.queue_url))
    assert tags.tags == {"team": "a"}
    with pytest.raises(SettingsError, match="either dead_letter_queue or RedrivePolicy"):
        await sqs.create_queue("other", dead_letter_queue=dead, RedrivePolicy="{}")


async def test_a_message_is_sent_received_and_deleted_by_the_name_of_its_queue(
    sqs: SqsClient, fifo_url: str
) -> None:
    name = fifo_url.rpartition("/")[2]
    attributes: dict[str, Any] = {"kind": "order", "price": 5, "raw": b"\x00"}
    identifier = await sqs.send(
        name, {"seat": "A"}, group_id="g", deduplication_id="d", attributes=attributes
    )
    (message,) = await sqs.receive(name, wait_s=1, visibility_timeout_s=40)
    assert (message.message_id, message.body) == (identifier, '{"seat": "A"}')
    assert (message.attributes or {})["MessageGroupId"] == "g"
    received = message.message_attributes or {}
    assert {key: value.data_type for key, value in received.items()} == {
        "kind": "String",
        "price": "Number",
        "raw": "Binary",
    }
    await sqs.delete(name, message)
    await sqs.send(fifo_url, "late", group_id="g", deduplication_id="e", timeout_s=5)
    (message,) = await sqs.receive(fifo_url, limit=1, wait_s=1)
    await sqs.delete(fifo_url, message.receipt_handle)
    assert await sqs.receive(name, wait_s=0) == []


async def test_a_missing_queue_is_named_with_what_to_do(sqs: SqsClient) -> None:
    for asking in (
        sqs.queue_url("kwyjibo"),
        sqs.queue_url("arn:aws:sqs:us-east-1:000000000000:kwyjibo"),
        sqs.send("kwyjibo", "body"),
        sqs.receive("kwyjibo"),
    ):
        with pytest.raises(SqsError) as refusal:
            await asking
        assert refusal.value.fault == QUEUE_DOES_NOT_EXIST
        assert refusal.value.message == (
            f"There is no queue kwyjibo at {sqs.place}. Create it with"
            " `await client.create_queue('kwyjibo')` or `forebay create kwyjibo`, or check the"
            " name, the region and the account."
        )


def test_a_client_goes_on_in_another_event_loop(embedded: EmbeddedBroker) -> None:
    client = HttpSqsClient(
        embedded.endpoint_url, credentials=Credentials("test", "test"), environment={}
    )
    with warnings.catch_warnings():
        # The first loop ended with the client's connection open.
        warnings.simplefilter("ignore", ResourceWarning)
        for loop_factory in (asyncio.new_event_loop, uvloop.new_event_loop):
            for body in ("a", "b"):
                with asyncio.Runner(loop_factory=loop_factory) as runner:
                    runner.run(client.create_queue("loops"))
                    runner.run(client.send("loops", body))
                gc.collect()
        asyncio.run(client.close())


async def test_a_long_poll_ends_with_the_message_that_comes(sqs: SqsClient, queue_url: str) -> None:
    poll = asyncio.create_task(receive(sqs, queue_url, wait_time_seconds=20))
    await asyncio.sleep(0)
    await sqs.send_message(SendMessageRequest(queue_url=queue_url, message_body="hello"))
    assert [message.body for message in await poll] == ["hello"]


async def test_a_fifo_queue_collapses_and_orders(sqs: SqsClient, fifo_url: str) -> None:
    sent = [
        await sqs.send_message(
            SendMessageRequest(
                queue_url=fifo_url,
                message_body=body,
                message_group_id="A",
                message_deduplication_id=body,
            )
        )
        for body in ("first", "first", "second")
    ]
    assert sent[0].sequence_number == sent[1].sequence_number
    assert [message.body for message in await receive(sqs, fifo_url)] == ["first", "second"]


async def test_a_producer_delivers_through_it(sqs: SqsClient, fifo_url: str) -> None:
    async with Producer(sqs, fifo_url, node="node-1") as producer:
        for number in range(10):
            assert producer.send("order", number, group_id="A")
        published = await producer.publish("order", 10, group_id="A")
    assert producer.ledger.delivered == 11
    received = await receive(sqs, fifo_url)
    assert [int(bytes(decode_envelope(m.body).payload)) for m in received] == list(range(10))
    await sqs.delete_message_batch(
        DeleteMessageBatchRequest(
            queue_url=fifo_url,
            entries=[
                DeleteMessageBatchRequestEntry(id=str(n), receipt_handle=message.receipt_handle)
                for n, message in enumerate(received)
            ],
        )
    )
    (last,) = await receive(sqs, fifo_url)
    assert last.message_id == published.message_id
    assert (last.attributes or {})["SequenceNumber"] == published.sequence_number
