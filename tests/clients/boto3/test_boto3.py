"""boto3 takes the broker for Amazon SQS: the newest, and the last that speaks the Query protocol.

Both read the same transcripts, so that neither protocol can differ from the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from time import monotonic, sleep
from typing import Any

import pytest

from tests.clients.boto3.conversation import Boto3, conversation
from tests.clients.environments import python_environment
from tests.clients.serving import serving

PREFIX = "AWS.SimpleQueueService."

#: Letters that a codec may spoil: XML's own, white space that parsers fold, and three scripts.
AWKWARD = '<body attribute="\'">&amp; \r\n\t + % = \u00e9 \u65e5\u672c\u8a9e \U0001f3ab</body>'

_numbers = count(1)


@pytest.fixture(scope="module", params=["boto3", "boto3_query"])
def peer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def endpoint_url(peer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp(peer)) as url:
        yield url


@pytest.fixture(scope="module")
def sqs(peer: str, endpoint_url: str) -> Iterator[Boto3]:
    with conversation(python_environment(peer) / "python", endpoint_url) as client:
        yield client


@pytest.fixture
def url(sqs: Boto3) -> str:
    """A standard queue of the test's own."""
    return queue(sqs)


@pytest.fixture
def fifo_url(sqs: Boto3) -> str:
    """A FIFO queue of the test's own, which deduplicates by content."""
    return queue(sqs, ".fifo", FifoQueue="true", ContentBasedDeduplication="true")


def queue(sqs: Boto3, suffix: str = "", /, **attributes: str) -> str:
    name = f"queue-{next(_numbers)}{suffix}"
    created: str = sqs("create_queue", QueueName=name, Attributes=attributes)["QueueUrl"]
    return created


def arn(sqs: Boto3, url: str) -> str:
    read: str = sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["QueueArn"])[
        "Attributes"
    ]["QueueArn"]
    return read


def bodies(received: dict[str, Any]) -> list[str]:
    return [message["Body"] for message in received.get("Messages", [])]


def test_the_life_cycle_of_a_standard_message(sqs: Boto3, url: str) -> None:
    sent = sqs(
        "send_message",
        QueueUrl=url,
        MessageBody=AWKWARD,
        MessageAttributes={
            "colour": {"DataType": "String.css", "StringValue": "bleu ciel & <gris>"},
            "price": {"DataType": "Number", "StringValue": "12.50"},
            "ticket": {"DataType": "Binary", "BinaryValue": b"\x00\xff\r\n"},
        },
        MessageSystemAttributes={
            "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be"}
        },
    )
    assert sent["ResponseMetadata"]["RequestId"]
    [message] = sqs(
        "receive_message", QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"]
    )["Messages"]
    assert message["Body"] == AWKWARD
    assert message["MessageId"] == sent["MessageId"]
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"]["colour"]["StringValue"] == "bleu ciel & <gris>"
    assert message["MessageAttributes"]["colour"]["DataType"] == "String.css"
    assert message["MessageAttributes"]["ticket"]["BinaryValue"] == b"\x00\xff\r\n"
    assert message["Attributes"]["AWSTraceHeader"] == "Root=1-5759e988-bd862e3fe1be"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    handle = message["ReceiptHandle"]
    sqs("change_message_visibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    [again] = sqs("receive_message", QueueUrl=url)["Messages"]
    assert again["MessageId"] == sent["MessageId"]
    assert "Attributes" not in again
    sqs("delete_message", QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    assert "Messages" not in sqs("receive_message", QueueUrl=url)


def test_fifo_keeps_the_order_of_a_group_and_drops_duplicates(sqs: Boto3, fifo_url: str) -> None:
    entries = [
        {"Id": str(index), "MessageBody": f"order {index}", "MessageGroupId": "section-a"}
        for index in range(3)
    ]
    sent = sqs("send_message_batch", QueueUrl=fifo_url, Entries=entries)["Successful"]
    again = sqs("send_message_batch", QueueUrl=fifo_url, Entries=entries)["Successful"]
    numbers = [entry["SequenceNumber"] for entry in sent]
    assert numbers == sorted(numbers)
    assert [entry["SequenceNumber"] for entry in again] == numbers
    assert [entry["MessageId"] for entry in again] == [entry["MessageId"] for entry in sent]
    [first] = sqs("receive_message", QueueUrl=fifo_url, AttributeNames=["All"])["Messages"]
    assert first["Body"] == "order 0"
    assert first["Attributes"]["SequenceNumber"] == numbers[0]
    assert first["Attributes"]["MessageGroupId"] == "section-a"
    assert bodies(sqs("receive_message", QueueUrl=fifo_url)) == []
    sqs("delete_message", QueueUrl=fifo_url, ReceiptHandle=first["ReceiptHandle"])
    received = sqs("receive_message", QueueUrl=fifo_url, MaxNumberOfMessages=10)
    assert bodies(received) == ["order 1", "order 2"]


def test_a_repeated_receive_attempt_answers_the_same_messages(sqs: Boto3, fifo_url: str) -> None:
    sqs("send_message", QueueUrl=fifo_url, MessageBody="a", MessageGroupId="g")
    attempt = {"QueueUrl": fifo_url, "ReceiveRequestAttemptId": "attempt-1"}
    first = sqs("receive_message", **attempt)["Messages"]
    assert sqs("receive_message", **attempt)["Messages"] == first


def test_a_batch_reports_each_entry(sqs: Boto3) -> None:
    url = queue(sqs, MaximumMessageSize="1024")
    sent = sqs(
        "send_message_batch",
        QueueUrl=url,
        Entries=[
            {"Id": "good", "MessageBody": "a"},
            {"Id": "long", "MessageBody": "b" * 1025},
            {"Id": "delayed", "MessageBody": "c", "DelaySeconds": 900},
        ],
    )
    assert [entry["Id"] for entry in sent["Successful"]] == ["good", "delayed"]
    [failed] = sent["Failed"]
    assert (failed["Id"], failed["SenderFault"]) == ("long", True)
    assert failed["Code"] == "InvalidParameterValue"
    [message] = sqs("receive_message", QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    handle = message["ReceiptHandle"]
    changed = sqs(
        "change_message_visibility_batch",
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": handle, "VisibilityTimeout": 60},
            {"Id": "bad", "ReceiptHandle": "no handle", "VisibilityTimeout": 60},
        ],
    )
    assert [entry["Id"] for entry in changed["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"]) for entry in changed["Failed"]] == [
        ("bad", "ReceiptHandleIsInvalid")
    ]
    deleted = sqs(
        "delete_message_batch",
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": handle},
            {"Id": "bad", "ReceiptHandle": "no handle"},
        ],
    )
    assert [entry["Id"] for entry in deleted["Successful"]] == ["good"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in deleted["Failed"]] == [("bad", True)]


def test_a_long_poll_wakes_on_a_send(sqs: Boto3, peer: str, endpoint_url: str, url: str) -> None:
    with (
        conversation(python_environment(peer) / "python", endpoint_url) as other,
        ThreadPoolExecutor() as threads,
    ):
        # Warm, so that what is measured below is the poll and not an import.
        other("list_queues")
        poll = threads.submit(other, "receive_message", QueueUrl=url, WaitTimeSeconds=20)
        sleep(0.5)
        began = monotonic()
        sqs("send_message", QueueUrl=url, MessageBody="wake up")
        assert bodies(poll.result()) == ["wake up"]
        assert monotonic() - began < 5


def test_attributes_are_answered_as_they_were_set(sqs: Boto3, url: str) -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": "sqs:SendMessage",
                "Resource": arn(sqs, url),
            }
        ],
    }
    sqs(
        "set_queue_attributes",
        QueueUrl=url,
        Attributes={"VisibilityTimeout": "77", "Policy": json.dumps(policy)},
    )
    everything = sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert everything["VisibilityTimeout"] == "77"
    assert json.loads(everything["Policy"]) == policy
    assert everything["MessageRetentionPeriod"] == "345600"
    assert everything["SqsManagedSseEnabled"] == "true"
    some = sqs(
        "get_queue_attributes", QueueUrl=url, AttributeNames=["DelaySeconds", "VisibilityTimeout"]
    )
    assert some["Attributes"] == {"DelaySeconds": "0", "VisibilityTimeout": "77"}
    assert "Attributes" not in sqs("get_queue_attributes", QueueUrl=url)


def test_tags_and_permissions(sqs: Boto3, url: str) -> None:
    sqs("tag_queue", QueueUrl=url, Tags={"team": "shop", "cost centre": "12 + 13", "größe": ""})
    sqs("untag_queue", QueueUrl=url, TagKeys=["team", "unknown"])
    assert sqs("list_queue_tags", QueueUrl=url)["Tags"] == {
        "cost centre": "12 + 13",
        "größe": "",
    }
    sqs(
        "add_permission",
        QueueUrl=url,
        Label="partners",
        AWSAccountIds=["111111111111", "222222222222"],
        Actions=["SendMessage", "ReceiveMessage"],
    )
    attributes = sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["Policy"])["Attributes"]
    [statement] = json.loads(attributes["Policy"])["Statement"]
    assert statement["Sid"] == "partners"
    assert statement["Action"] == ["SQS:SendMessage", "SQS:ReceiveMessage"]
    sqs("remove_permission", QueueUrl=url, Label="partners")
    assert "Attributes" not in sqs("get_queue_attributes", QueueUrl=url, AttributeNames=["Policy"])


def test_tags_may_be_given_at_creation(sqs: Boto3) -> None:
    created = sqs("create_queue", QueueName="tagged", tags={"team": "shop", "stage": "test"})
    tags = sqs("list_queue_tags", QueueUrl=created["QueueUrl"])["Tags"]
    assert tags == {"team": "shop", "stage": "test"}


def test_queues_are_listed_in_pages(sqs: Boto3) -> None:
    names = [f"listed-{number}" for number in range(5)]
    urls = [sqs("create_queue", QueueName=name)["QueueUrl"] for name in names]
    page = sqs("list_queues", QueueNamePrefix="listed-", MaxResults=2)
    listed = page["QueueUrls"]
    while "NextToken" in page:
        page = sqs(
            "list_queues", QueueNamePrefix="listed-", MaxResults=2, NextToken=page["NextToken"]
        )
        listed += page["QueueUrls"]
    assert listed == urls
    assert "QueueUrls" not in sqs("list_queues", QueueNamePrefix="nothing-begins-so")


def test_a_poisoned_message_goes_to_the_dead_letter_queue_and_back(sqs: Boto3, url: str) -> None:
    dead_url = queue(sqs)
    dead_arn = arn(sqs, dead_url)
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "1"})
    sqs("set_queue_attributes", QueueUrl=url, Attributes={"RedrivePolicy": redrive})
    assert sqs("list_dead_letter_source_queues", QueueUrl=dead_url)["queueUrls"] == [url]
    sqs("send_message", QueueUrl=url, MessageBody="poison")
    assert bodies(sqs("receive_message", QueueUrl=url, VisibilityTimeout=0)) == ["poison"]
    assert bodies(sqs("receive_message", QueueUrl=url)) == []
    [dead] = sqs("receive_message", QueueUrl=dead_url, AttributeNames=["All"], VisibilityTimeout=0)[
        "Messages"
    ]
    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, url)
    assert sqs("start_message_move_task", SourceArn=dead_arn)["TaskHandle"]
    assert bodies(sqs("receive_message", QueueUrl=url, WaitTimeSeconds=5)) == ["poison"]
    [task] = sqs("list_message_move_tasks", SourceArn=dead_arn)["Results"]
    assert task["ApproximateNumberOfMessagesMoved"] == 1
    assert task["SourceArn"] == dead_arn


def test_what_the_queue_needs_to_know_is_refused_by_name(sqs: Boto3, url: str) -> None:
    sqs("purge_queue", QueueUrl=url)
    too_soon = sqs.refused("purge_queue", QueueUrl=url)
    assert (too_soon.code, too_soon.status) == (f"{PREFIX}PurgeQueueInProgress", 403)
    sqs("create_queue", QueueName="twice", Attributes={"DelaySeconds": "1"})
    other = sqs.refused("create_queue", QueueName="twice", Attributes={"DelaySeconds": "2"})
    assert (other.code, other.exception) == ("QueueAlreadyExists", "QueueNameExists")
    sqs("delete_queue", QueueUrl=url)
    gone = sqs.refused("send_message", QueueUrl=url, MessageBody="a")
    assert (gone.code, gone.exception) == (f"{PREFIX}NonExistentQueue", "QueueDoesNotExist")


@pytest.mark.parametrize(
    ("operation", "parameters", "code", "exception"),
    [
        (
            "get_queue_url",
            {"QueueName": "nowhere"},
            f"{PREFIX}NonExistentQueue",
            "QueueDoesNotExist",
        ),
        ("create_queue", {"QueueName": "bad.name"}, "InvalidParameterValue", "ClientError"),
        ("receive_message", {"MaxNumberOfMessages": 11}, "InvalidParameterValue", "ClientError"),
        ("send_message", {"MessageBody": ""}, "MissingParameter", "ClientError"),
        (
            "send_message",
            {"MessageBody": "\ufffe"},
            "InvalidMessageContents",
            "InvalidMessageContents",
        ),
        (
            "delete_message",
            {"ReceiptHandle": "no handle"},
            "ReceiptHandleIsInvalid",
            "ReceiptHandleIsInvalid",
        ),
        (
            "send_message_batch",
            {"Entries": [{"Id": str(n), "MessageBody": "a"} for n in range(11)]},
            f"{PREFIX}TooManyEntriesInBatchRequest",
            "TooManyEntriesInBatchRequest",
        ),
        (
            "send_message_batch",
            {"Entries": [{"Id": "same", "MessageBody": "a"}] * 2},
            f"{PREFIX}BatchEntryIdsNotDistinct",
            "BatchEntryIdsNotDistinct",
        ),
        (
            "delete_message_batch",
            {"Entries": [{"Id": "not allowed!", "ReceiptHandle": "a"}]},
            f"{PREFIX}InvalidBatchEntryId",
            "InvalidBatchEntryId",
        ),
        (
            "set_queue_attributes",
            {"Attributes": {"VisibilityTimeout": "43201"}},
            "InvalidAttributeValue",
            None,
        ),
        (
            "set_queue_attributes",
            {"Attributes": {"Colour": "blue"}},
            "InvalidAttributeName",
            "InvalidAttributeName",
        ),
        (
            "start_message_move_task",
            {"SourceArn": "arn:aws:sqs:eu-west-1:000000000000:nowhere"},
            "ResourceNotFoundException",
            "ResourceNotFoundException",
        ),
    ],
)
def test_refusals_have_the_codes_of_aws(
    sqs: Boto3,
    operation: str,
    parameters: dict[str, Any],
    code: str,
    exception: str | None,
    url: str,
) -> None:
    if not parameters.keys() & {"QueueName", "SourceArn"}:
        parameters = {"QueueUrl": url, **parameters}
    refusal = sqs.refused(operation, **parameters)
    assert refusal.code == code
    # boto3 of 2023 has no class of its own for InvalidAttributeValue.
    assert exception in {None, refusal.exception}
    assert refusal.message
