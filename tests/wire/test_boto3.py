"""boto3 takes the broker for Amazon SQS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from forebay.broker.embedded import EmbeddedBroker

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path) as broker:
        yield broker


@pytest.fixture
def sqs(broker: EmbeddedBroker) -> Iterator[SQSClient]:
    client = client_of(broker)
    yield client
    client.close()


def client_of(broker: EmbeddedBroker) -> SQSClient:
    return boto3.client(
        "sqs",
        endpoint_url=broker.endpoint_url,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


def receive(sqs: SQSClient, url: str, *, wait_s: int = 0) -> list[MessageTypeDef]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=wait_s,
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    return answer.get("Messages", [])


def count(sqs: SQSClient, url: str) -> tuple[int, int]:
    """Visible messages, and those in flight."""
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return (
        int(attributes["ApproximateNumberOfMessages"]),
        int(attributes["ApproximateNumberOfMessagesNotVisible"]),
    )


def test_a_standard_queue_lives_its_whole_life(sqs: SQSClient, broker: EmbeddedBroker) -> None:
    url = sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    assert url == f"{broker.endpoint_url}/000000000000/jobs"
    assert sqs.get_queue_url(QueueName="jobs")["QueueUrl"] == url
    assert sqs.list_queues(QueueNamePrefix="jo")["QueueUrls"] == [url]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    assert arn == {"QueueArn": "arn:aws:sqs:eu-central-1:000000000000:jobs"}

    # boto3 itself checks the MD5 digests of what it sends and receives.
    sent = sqs.send_message(
        QueueUrl=url,
        MessageBody="größe \U0001f389",
        MessageAttributes={
            "kind": {"DataType": "String", "StringValue": "greeting"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\0\xff"},
        },
    )
    (message,) = receive(sqs, url)
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == "größe \U0001f389"
    assert message["MessageAttributes"]["raw"]["BinaryValue"] == b"\0\xff"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert count(sqs, url) == (0, 1)

    sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )
    (again,) = receive(sqs, url)
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    assert count(sqs, url) == (0, 0)

    sqs.delete_queue(QueueUrl=url)
    assert "QueueUrls" not in sqs.list_queues()
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.send_message(QueueUrl=url, MessageBody="too late")


def test_a_fifo_queue_lives_its_whole_life(sqs: SQSClient) -> None:
    url = sqs.create_queue(
        QueueName="orders.fifo",
        Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"},
    )["QueueUrl"]
    batch = sqs.send_message_batch(
        QueueUrl=url,
        Entries=[
            {
                "Id": f"{number}",
                "MessageBody": f"order {number}",
                "MessageGroupId": f"g{number % 2}",
            }
            for number in range(6)
        ],
    )
    assert batch.get("Failed", []) == []
    numbers = [entry["SequenceNumber"] for entry in batch["Successful"]]
    assert numbers == sorted(numbers)
    duplicate = sqs.send_message(QueueUrl=url, MessageBody="order 0", MessageGroupId="g0")
    assert duplicate["SequenceNumber"] == numbers[0]

    messages = receive(sqs, url)
    assert [message["Body"] for message in messages] == [
        *("order 0", "order 2", "order 4"),
        *("order 1", "order 3", "order 5"),
    ]
    assert receive(sqs, url) == []
    sqs.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "a", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
            for message in messages[:1]
        ],
    )
    (first_again,) = receive(sqs, url)
    assert first_again["Body"] == "order 0"
    handles = [message["ReceiptHandle"] for message in (first_again, *messages[1:])]
    deleted = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": f"{number}", "ReceiptHandle": handle} for number, handle in enumerate(handles)
        ],
    )
    assert len(deleted["Successful"]) == 6
    assert count(sqs, url) == (0, 0)


def test_a_message_that_fails_too_often_reaches_the_dead_letter_queue(sqs: SQSClient) -> None:
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    url = sqs.create_queue(
        QueueName="jobs",
        Attributes={
            "VisibilityTimeout": "0",
            "RedrivePolicy": '{"deadLetterTargetArn":'
            '"arn:aws:sqs:eu-central-1:000000000000:dead","maxReceiveCount":"2"}',
        },
    )["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    assert [len(receive(sqs, url)) for _ in range(3)] == [1, 1, 0]
    assert [message["Body"] for message in receive(sqs, dead)] == ["poison"]


def test_a_long_poll_waits_and_purge_empties(sqs: SQSClient) -> None:
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    assert receive(sqs, url, wait_s=1) == []
    sqs.send_message(QueueUrl=url, MessageBody="soon", DelaySeconds=1)
    assert [message["Body"] for message in receive(sqs, url, wait_s=5)] == ["soon"]
    sqs.purge_queue(QueueUrl=url)
    assert count(sqs, url) == (0, 0)
    with pytest.raises(ClientError, match="PurgeQueueInProgress"):
        sqs.purge_queue(QueueUrl=url)


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "data") as broker:
        sqs = client_of(broker)
        url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="kept")
        sqs.send_message(QueueUrl=url, MessageBody="deleted")
        for message in receive(sqs, url):
            if message["Body"] == "deleted":
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            else:
                kept = message["ReceiptHandle"]
        sqs.close()
    with EmbeddedBroker(tmp_path / "data") as broker:
        sqs = client_of(broker)
        assert count(sqs, url) == (0, 1)
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=kept, VisibilityTimeout=0)
        (message,) = receive(sqs, url)
        assert message["Body"] == "kept"
        assert message["Attributes"]["ApproximateReceiveCount"] == "2"
        sqs.close()
