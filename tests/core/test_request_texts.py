"""What sends, receives and whole batches are refused with, in AWS's words where they are known.

Each row says where the words come from. Those of message attributes are in
test_message_attributes.py, those of receipt handles, move tasks and entries in test_error_texts.py.
"""

from __future__ import annotations

import pytest

from forebay.protocol.actions import (
    AnyRequest,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageRequest,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageRequest,
)
from forebay.protocol.errors import SqsError
from tests.core.harness import Sqs, url_of

#: Where a row comes from.
LOCALSTACK = "github.com/localstack/localstack, tests/aws/services/sqs/test_sqs.snapshot.json"
LOCAL_AWS_SQS = "github.com/Inqnuam/local-aws-sqs, its tests"

PREFIX = "AWS.SimpleQueueService."
WRONG_TYPE = "The request include parameter that is not valid for this queue type."
PUNCTUATION = "can only include alphanumeric and punctuation characters. 1 to 128 in length."
NO_DEDUPLICATION = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId"
    " provided explicitly"
)
BATCH_ENTRY_ID = (
    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be"
    " at most 80 letters long."
)


def send(queue: str = "jobs", **members: object) -> SendMessageRequest:
    return SendMessageRequest(
        **{"queue_url": url_of(queue), "message_body": "a", **members}  # type: ignore[arg-type]
    )


def batch(*ids: str, queue: str = "jobs", **members: object) -> SendMessageBatchRequest:
    entries = [
        SendMessageBatchRequestEntry(**{"id": name, "message_body": "a", **members})  # type: ignore[arg-type]
        for name in ids
    ]
    return SendMessageBatchRequest(queue_url=url_of(queue), entries=entries)


def receive(**members: object) -> ReceiveMessageRequest:
    return ReceiveMessageRequest(queue_url=url_of("jobs"), **members)  # type: ignore[arg-type]


#: The request, the code, the text and the source.
REFUSED: list[tuple[AnyRequest, str, str, str]] = [
    (send(message_body=""), "MissingParameter",
     "The request must contain the parameter MessageBody.", LOCAL_AWS_SQS),
    (send(message_body="a\x07"), "InvalidMessageContents",
     "Invalid binary character '#x7' was found in the message body, the set of allowed characters"
     " is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]",
     "github.com/asim/nitro-plugins/issues/437"),
    (send(message_body="a" * 2049), "InvalidParameterValue",
     "One or more parameters are invalid. Reason: Message must be shorter than 2048 bytes.",
     LOCALSTACK),
    (send(delay_seconds=-1), "InvalidParameterValue",
     "Value -1 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and"
     " <= 900.", LOCAL_AWS_SQS),
    (send(message_deduplication_id="d"), "InvalidParameterValue",
     f"Value d for parameter MessageDeduplicationId is invalid. Reason: {WRONG_TYPE}",
     "github.com/cdklabs/construct-hub/issues/905"),
    (send(message_group_id="a b"), "InvalidParameterValue",
     f"Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId {PUNCTUATION}",
     LOCAL_AWS_SQS),
    (send("jobs.fifo"), "MissingParameter",
     "The request must contain the parameter MessageGroupId.", LOCALSTACK),
    (send("jobs.fifo", message_group_id="g"), "InvalidParameterValue",
     NO_DEDUPLICATION, LOCALSTACK),
    (send("jobs.fifo", message_group_id="g", message_deduplication_id="a b"),
     "InvalidParameterValue",
     "Value a b for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId"
     f" {PUNCTUATION}", LOCAL_AWS_SQS),
    (send("jobs.fifo", message_group_id="g", message_deduplication_id="d", delay_seconds=2),
     "InvalidParameterValue",
     f"Value 2 for parameter DelaySeconds is invalid. Reason: {WRONG_TYPE}", LOCALSTACK),
    (receive(max_number_of_messages=11), "InvalidParameterValue",
     "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if"
     " provided.", LOCALSTACK),
    (receive(wait_time_seconds=21), "InvalidParameterValue",
     "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if"
     " provided.", LOCAL_AWS_SQS),
    (receive(visibility_timeout=43_201), "InvalidParameterValue",
     "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if"
     " provided.", LOCAL_AWS_SQS),
    (receive(attribute_names=["Colour"]), "InvalidAttributeName", "Unknown Attribute Colour.",
     LOCAL_AWS_SQS),
    (DeleteMessageRequest(queue_url=url_of("jobs"), receipt_handle=""), "MissingParameter",
     "The request must contain the parameter ReceiptHandle.", LOCAL_AWS_SQS),
    (ChangeMessageVisibilityRequest(
        queue_url=url_of("jobs"), receipt_handle="", visibility_timeout=0), "MissingParameter",
     "The request must contain the parameter ReceiptHandle.", LOCAL_AWS_SQS),
    (batch(*map(str, range(20))), f"{PREFIX}TooManyEntriesInBatchRequest",
     "Maximum number of entries per request are 10. You have sent 20.", LOCALSTACK),
    (batch("a b"), f"{PREFIX}InvalidBatchEntryId", BATCH_ENTRY_ID, LOCALSTACK),
    (batch("a" * 81), f"{PREFIX}InvalidBatchEntryId", BATCH_ENTRY_ID, LOCALSTACK),
    (batch(""), f"{PREFIX}InvalidBatchEntryId", BATCH_ENTRY_ID, LOCALSTACK),
    (batch("a", "b", "a"), f"{PREFIX}BatchEntryIdsNotDistinct", "Id a repeated.", LOCAL_AWS_SQS),
    (batch("a", message_body="a" * 1_048_577), f"{PREFIX}BatchRequestTooLong",
     "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.",
     LOCALSTACK),
    (batch("a", queue="jobs.fifo"), "InvalidParameterValue",
     "The request must contain the parameter MessageGroupId.", LOCALSTACK),
    (batch("a", queue="jobs.fifo", message_group_id="g"), "InvalidParameterValue",
     NO_DEDUPLICATION, LOCALSTACK),
]  # fmt: skip


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("jobs", {"MaximumMessageSize": 2048})
    sqs.create("jobs.fifo", {"ContentBasedDeduplication": "false"})
    return sqs


@pytest.mark.parametrize(("request_", "code", "text", "source"), REFUSED)
def test_what_a_request_is_refused_with(
    sqs: Sqs, request_: AnyRequest, code: str, text: str, source: str
) -> None:
    with pytest.raises(SqsError) as refusal:
        sqs.call(request_)
    assert (refusal.value.code, refusal.value.message) == (code, text), source


@pytest.mark.parametrize(
    "request_",
    [
        DeleteMessageBatchRequest(
            queue_url=url_of("jobs"), entries=[DeleteMessageBatchRequestEntry(id="a")]
        ),
        ChangeMessageVisibilityBatchRequest(
            queue_url=url_of("jobs"),
            entries=[ChangeMessageVisibilityBatchRequestEntry(id="a", visibility_timeout=0)],
        ),
    ],
)
def test_an_entry_without_a_handle_fails_alone(
    sqs: Sqs, request_: DeleteMessageBatchRequest | ChangeMessageVisibilityBatchRequest
) -> None:
    """Source: github.com/Inqnuam/local-aws-sqs, test/delete-message-batch.test.ts"""
    [entry] = sqs.call(request_).failed or []  # type: ignore[union-attr]
    assert (entry.code, entry.message) == (
        "MissingParameter",
        "The request must contain the parameter ReceiptHandle.",
    )
