"""The AWS CLI takes the broker for Amazon SQS: the whole life cycle, Standard and FIFO."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import python_environment
from tests.clients.peers import PeerFailed, configuration, output_of


class AwsCli:
    """`aws sqs --endpoint-url` as a user types it."""

    def __init__(self, executable: Path, endpoint_url: str) -> None:
        self._command: list[str | Path] = [executable, "sqs", "--endpoint-url", endpoint_url]
        self._environment = configuration(endpoint_url)

    def __call__(self, *arguments: str) -> Any:
        printed = output_of(*self._command, *arguments, environment=self._environment)
        return json.loads(printed) if printed.strip() else None

    def refused(self, *arguments: str) -> str:
        """What the CLI prints when the call is refused."""
        with pytest.raises(PeerFailed) as refusal:
            self(*arguments)
        return str(refusal.value)


@pytest.fixture(scope="module")
def aws(endpoint_url: str) -> AwsCli:
    return AwsCli(python_environment("awscli") / "aws", endpoint_url)


def test_the_life_cycle_of_a_standard_message(aws: AwsCli) -> None:
    url = aws("create-queue", "--queue-name", "jobs", "--attributes", "VisibilityTimeout=5")[
        "QueueUrl"
    ]
    assert aws("get-queue-url", "--queue-name", "jobs")["QueueUrl"] == url
    attributes = '{"colour": {"DataType": "String", "StringValue": "blue"}}'
    sent = aws(
        *("send-message", "--queue-url", url, "--message-body", "hello"),
        *("--message-attributes", attributes),
    )
    received = aws(
        *("receive-message", "--queue-url", url, "--wait-time-seconds", "5"),
        *("--message-attribute-names", "All", "--attribute-names", "All"),
    )
    [message] = received["Messages"]
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == "hello"
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"]["colour"]["StringValue"] == "blue"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    handle = message["ReceiptHandle"]
    aws(
        *("change-message-visibility", "--queue-url", url, "--receipt-handle", handle),
        *("--visibility-timeout", "60"),
    )
    counts = aws("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")
    assert counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert counts["Attributes"]["QueueArn"] == "arn:aws:sqs:eu-west-1:000000000000:jobs"
    aws("delete-message", "--queue-url", url, "--receipt-handle", handle)
    assert aws("receive-message", "--queue-url", url) is None


def test_batches_order_and_deduplication_of_a_fifo_queue(aws: AwsCli) -> None:
    url = aws(
        *("create-queue", "--queue-name", "orders.fifo"),
        *("--attributes", "FifoQueue=true,ContentBasedDeduplication=true"),
    )["QueueUrl"]
    entries = [
        {"Id": str(index), "MessageBody": f"order {index}", "MessageGroupId": "section-a"}
        for index in range(3)
    ]
    sent = aws("send-message-batch", "--queue-url", url, "--entries", json.dumps(entries))
    again = aws("send-message-batch", "--queue-url", url, "--entries", json.dumps(entries))
    assert [entry["SequenceNumber"] for entry in again["Successful"]] == [
        entry["SequenceNumber"] for entry in sent["Successful"]
    ]
    received = aws("receive-message", "--queue-url", url, "--max-number-of-messages", "10")
    assert [message["Body"] for message in received["Messages"]] == [
        "order 0",
        "order 1",
        "order 2",
    ]
    deletes = [
        {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
        for index, message in enumerate(received["Messages"])
    ]
    deleted = aws("delete-message-batch", "--queue-url", url, "--entries", json.dumps(deletes))
    assert len(deleted["Successful"]) == 3


def test_purge_list_and_delete(aws: AwsCli) -> None:
    url = aws("create-queue", "--queue-name", "passing")["QueueUrl"]
    aws("send-message", "--queue-url", url, "--message-body", "a")
    aws("purge-queue", "--queue-url", url)
    assert aws("receive-message", "--queue-url", url) is None
    assert aws("list-queues", "--queue-name-prefix", "pass")["QueueUrls"] == [url]
    aws("delete-queue", "--queue-url", url)
    assert aws("list-queues", "--queue-name-prefix", "pass") is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("get-queue-url", "--queue-name", "nowhere"), "AWS.SimpleQueueService.NonExistentQueue"),
        (("create-queue", "--queue-name", "bad.name"), "InvalidParameterValue"),
    ],
)
def test_refusals_have_the_codes_of_aws(aws: AwsCli, arguments: tuple[str, ...], code: str) -> None:
    assert f"({code})" in aws.refused(*arguments)
