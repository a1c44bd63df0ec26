"""The broker for tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from forebay.errors import Closed, SettingsError
from forebay.protocol.actions import (
    CreateQueueRequest,
    DeleteQueueRequest,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    ListQueuesRequest,
    ListQueuesResult,
    ListQueueTagsRequest,
    ListQueueTagsResult,
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
)
from forebay.protocol.errors import SqsError
from forebay.testing import BrokerForTests


@pytest.fixture
def broker() -> Iterator[BrokerForTests]:
    with BrokerForTests(virtual_clock=True) as broker:
        yield broker


def send(broker: BrokerForTests, url: str, body: str, delay_s: int | None = None) -> None:
    broker.call(SendMessageRequest(queue_url=url, message_body=body, delay_seconds=delay_s))


def receive(broker: BrokerForTests, url: str, wait_s: int = 0) -> list[Message]:
    request = ReceiveMessageRequest(queue_url=url, wait_time_seconds=wait_s)
    return cast("ReceiveMessageResult", broker.call(request)).messages or []


def queue_urls(broker: BrokerForTests) -> list[str]:
    return cast("ListQueuesResult", broker.call(ListQueuesRequest())).queue_urls or []


def states(broker: BrokerForTests, url: str) -> list[tuple[str, str]]:
    return [(message.body, message.state) for message in broker.messages(url)]


def test_looking_at_messages_shows_every_state_and_changes_none(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    for body in ("received", "visible"):
        send(broker, url, body)
    send(broker, url, "delayed", delay_s=60)
    receive(broker, url)
    for _ in range(2):
        assert states(broker, url) == [
            ("received", "IN_FLIGHT"),
            ("visible", "VISIBLE"),
            ("delayed", "DELAYED"),
        ]
    assert [message.receive_count for message in broker.messages(url)] == [1, 0, 0]


def test_advancing_ends_a_visibility_timeout_at_its_end_and_not_before(
    broker: BrokerForTests,
) -> None:
    url = broker.create_queue("orders", VisibilityTimeout=600)
    send(broker, url, "order")
    receive(broker, url)
    broker.clock.advance(minutes=9, seconds=30)
    assert states(broker, url) == [("order", "IN_FLIGHT")]
    broker.clock.advance(seconds=30)
    assert states(broker, url) == [("order", "VISIBLE")]


def test_advancing_ends_delays_and_retention(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders", DelaySeconds=900)
    send(broker, url, "order")
    broker.clock.advance(minutes=15)
    assert states(broker, url) == [("order", "VISIBLE")]
    broker.clock.advance(days=3, hours=23, minutes=45)
    assert states(broker, url) == []


def test_advancing_hands_a_message_to_the_long_poll_that_waits_for_it(
    broker: BrokerForTests,
) -> None:
    url = broker.create_queue("orders", DelaySeconds=900)
    send(broker, url, "order")
    with ThreadPoolExecutor() as threads:
        poll = threads.submit(receive, broker, url, wait_s=20)
        broker.clock.advance(minutes=15)
        assert [message.body for message in poll.result()] == ["order"]


def test_a_clock_is_not_put_back(broker: BrokerForTests) -> None:
    with pytest.raises(SettingsError, match="cannot be put back"):
        broker.clock.advance(minutes=1, seconds=-61)


def test_a_clock_that_was_not_asked_for_says_how_to_ask() -> None:
    with (
        BrokerForTests() as broker,
        pytest.raises(SettingsError, match="Ask for the fixture forebay_clock"),
    ):
        _ = broker.clock


def test_attributes_are_written_as_python_writes_them(broker: BrokerForTests) -> None:
    dead = broker.create_queue("dead.fifo")
    policy = {"deadLetterTargetArn": broker.arn(dead), "maxReceiveCount": 3}
    url = broker.create_queue(
        "orders.fifo",
        ContentBasedDeduplication=True,
        SqsManagedSseEnabled=False,
        VisibilityTimeout=5,
        DelaySeconds="7",
        RedrivePolicy=policy,
    )
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=["All"])
    found = cast("GetQueueAttributesResult", broker.call(request)).attributes or {}
    assert found["FifoQueue"] == "true"
    assert found["ContentBasedDeduplication"] == "true"
    assert found["SqsManagedSseEnabled"] == "false"
    assert found["VisibilityTimeout"] == "5"
    assert found["DelaySeconds"] == "7"
    assert json.loads(found["RedrivePolicy"]) == policy
    assert found["QueueArn"] == broker.arn(url)


def attributes_of(broker: BrokerForTests, url: str) -> dict[str, str]:
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=["All"])
    return cast("GetQueueAttributesResult", broker.call(request)).attributes or {}


def test_a_queue_is_created_with_tags(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders", tags={"team": "shop"})
    found = broker.call(ListQueueTagsRequest(queue_url=url))
    assert cast("ListQueueTagsResult", found).tags == {"team": "shop"}


def test_a_dead_letter_queue_is_given_by_url_or_by_name(broker: BrokerForTests) -> None:
    dead = broker.create_queue("dead", DelaySeconds=7)
    for number, given in enumerate((dead, "dead")):
        url = broker.create_queue(f"orders-{number}", dead_letter_queue=given, max_receive_count=9)
        policy = json.loads(attributes_of(broker, url)["RedrivePolicy"])
        assert policy == {"deadLetterTargetArn": broker.arn(dead), "maxReceiveCount": 9}
    assert attributes_of(broker, dead)["DelaySeconds"] == "7"


def test_a_dead_letter_queue_that_is_missing_is_created(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders.fifo", dead_letter_queue="dead.fifo")
    policy = json.loads(attributes_of(broker, url)["RedrivePolicy"])
    assert policy == {"deadLetterTargetArn": broker.arn("dead.fifo"), "maxReceiveCount": 3}
    dead = attributes_of(broker, "dead.fifo")
    assert (dead["FifoQueue"], dead["MessageRetentionPeriod"]) == ("true", "1209600")


def test_a_redrive_policy_is_given_once(broker: BrokerForTests) -> None:
    with pytest.raises(SettingsError, match="either dead_letter_queue or RedrivePolicy"):
        broker.create_queue("orders", dead_letter_queue="dead", RedrivePolicy={})


def test_a_message_is_sent_as_python_writes_it(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders.fifo")
    sent = broker.send(
        url,
        {"seat": "A-12"},
        attributes={"kind": "vip", "price": 30.5, "ticket": b"\x00"},
        group_id="concert#A",
        deduplication_id="order-1",
    )
    (seen,) = broker.messages("orders.fifo")
    assert (seen.message_id, json.loads(seen.body)) == (sent, {"seat": "A-12"})
    assert (seen.message_group_id, seen.deduplication_id) == ("concert#A", "order-1")
    request = ReceiveMessageRequest(queue_url=url, message_attribute_names=["All"])
    (message,) = cast("ReceiveMessageResult", broker.call(request)).messages or []
    found = message.message_attributes or {}
    assert {name: each.data_type for name, each in found.items()} == {
        "kind": "String",
        "price": "Number",
        "ticket": "Binary",
    }
    assert (found["price"].string_value, found["ticket"].binary_value) == ("30.5", b"\x00")
    delayed = broker.create_queue("later")
    broker.send(delayed, "order", delay_s=60)
    assert states(broker, delayed) == [("order", "DELAYED")]


def test_what_sqs_refuses_is_raised(broker: BrokerForTests) -> None:
    with pytest.raises(SqsError, match="VisibilityTimeout"):
        broker.create_queue("orders", VisibilityTimeout=-1)
    with pytest.raises(SqsError, match="does not exist"):
        broker.messages(f"{broker.endpoint_url}/000000000000/orders")


def test_cleaning_up_deletes_what_appeared_and_keeps_what_was_there(broker: BrokerForTests) -> None:
    shared = broker.create_queue("shared")
    with broker.cleaned_up():
        client = broker.boto3_client()
        client.create_queue(QueueName="by-another-client")
        deleted = broker.create_queue("deleted")
        broker.call(DeleteQueueRequest(queue_url=deleted))
        send(broker, shared, "stays")
    assert queue_urls(broker) == [shared]
    assert states(broker, shared) == [("stays", "VISIBLE")]


def test_cleaning_up_reaches_every_region_and_account(broker: BrokerForTests) -> None:
    elsewhere = broker.boto3_client(region_name="eu-west-1", aws_access_key_id="111111111111")
    elsewhere.create_queue(QueueName="stays")
    with broker.cleaned_up():
        elsewhere.create_queue(QueueName="goes")
    [url] = elsewhere.list_queues()["QueueUrls"]
    assert url == f"{broker.endpoint_url}/111111111111/stays"


def test_it_is_in_the_region_that_was_asked_for() -> None:
    with BrokerForTests(region="eu-west-1") as broker:
        url = broker.create_queue("orders")
        assert broker.arn(url) == "arn:aws:sqs:eu-west-1:000000000000:orders"
        assert broker.boto3_client().list_queues()["QueueUrls"] == [url]
        assert broker.environment["AWS_REGION"] == "eu-west-1"
        assert "QueueUrls" not in broker.boto3_client(region_name="us-east-1").list_queues()


def test_cleaning_up_is_done_after_a_failure_too(broker: BrokerForTests) -> None:
    def test_that_fails() -> None:
        with broker.cleaned_up():
            broker.create_queue("orders")
            raise LookupError

    with pytest.raises(LookupError):
        test_that_fails()
    assert queue_urls(broker) == []


def test_a_name_is_free_at_once(broker: BrokerForTests) -> None:
    for seconds in (1, 2):
        with broker.cleaned_up():
            url = broker.create_queue("orders", VisibilityTimeout=seconds)
            assert states(broker, url) == []
            send(broker, url, "order")


async def test_it_can_be_used_inside_an_event_loop(broker: BrokerForTests) -> None:
    url = broker.create_queue("orders")
    async with broker.client() as sqs:
        await sqs.send_message(SendMessageRequest(queue_url=url, message_body="order"))
        created = await sqs.create_queue(CreateQueueRequest(queue_name="orders"))
    assert created.queue_url == url
    assert states(broker, url) == [("order", "VISIBLE")]


def test_clients_take_options(broker: BrokerForTests) -> None:
    client = broker.boto3_client(region_name="eu-west-1")
    assert client.meta.region_name == "eu-west-1"
    assert client.meta.endpoint_url == broker.endpoint_url


def test_a_broker_that_does_not_run_says_so() -> None:
    broker = BrokerForTests()
    with pytest.raises(Closed, match="Call start"):
        broker.create_queue("orders")
    broker.start()
    broker.stop()
    with pytest.raises(Closed, match="Call start"):
        broker.messages("orders")
