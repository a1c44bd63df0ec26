"""Errors in AWS's own words, where AWS's words are known.

People match on them. Each row says where the words come from: answers that AWS gave, as they were
recorded by others.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from forebay.protocol import errors
from forebay.protocol.actions import (
    BatchResult,
    BatchResultErrorEntry,
    CancelMessageMoveTaskRequest,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
    Message,
    PurgeQueueRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageBatchResult,
    StartMessageMoveTaskRequest,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import TaskHandle, encode_task_handle
from tests.core.harness import Sqs, arn_of, url_of

LOCALSTACK = "github.com/localstack/localstack/blob/main/tests/aws/services/sqs/"
MOVE_TASKS = LOCALSTACK + "test_sqs_move_task.snapshot.json"

Act = Callable[[Sqs], object]


def sqs_with_queues() -> Sqs:
    sqs = Sqs()
    sqs.create("jobs", {"VisibilityTimeout": 30, "MaximumMessageSize": 2048})
    sqs.create("jobs.fifo", {"VisibilityTimeout": 30, "ContentBasedDeduplication": "false"})
    sqs.create("others")
    sqs.create("dead")
    policy = {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 1}
    sqs.create("source", {"RedrivePolicy": json.dumps(policy)})
    return sqs


def received(sqs: Sqs, queue: str) -> Message:
    sqs.send(queue, "a", group="g", deduplication_id="d" if queue.endswith(".fifo") else None)
    [message] = sqs.receive(queue)
    return message


def deleted(sqs: Sqs, queue: str) -> Message:
    message = received(sqs, queue)
    sqs.delete(queue, message)
    return message


def expired(sqs: Sqs, queue: str) -> Message:
    message = received(sqs, queue)
    sqs.wait(30)
    return message


def start_task(sqs: Sqs, source: str = "dead", to: str | None = None) -> object:
    return sqs.call(
        StartMessageMoveTaskRequest(
            source_arn=arn_of(source), destination_arn=arn_of(to) if to else None
        )
    )


def start_task_twice(sqs: Sqs) -> object:
    start_task(sqs)
    return start_task(sqs)


def cancel_task(sqs: Sqs, handle: str) -> object:
    return sqs.call(CancelMessageMoveTaskRequest(task_handle=handle))


def purge_twice(sqs: Sqs) -> object:
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))
    return sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))


def delete_by(sqs: Sqs, handle: str) -> object:
    return sqs.call(DeleteMessageRequest(queue_url=url_of("jobs"), receipt_handle=handle))


#: What is done, the fault, the text with HANDLE for the receipt handle, and the source.
SINGLE: list[tuple[Act, errors.Fault, str, str]] = [
    (
        lambda sqs: delete_by(sqs, "garbage"),
        errors.RECEIPT_HANDLE_IS_INVALID,
        'The input receipt handle "garbage" is not a valid receipt handle.',
        "github.com/getmoto/moto/pull/4765",
    ),
    (
        lambda sqs: sqs.change_visibility("jobs", received(sqs, "jobs"), 43_201),
        errors.INVALID_PARAMETER_VALUE,
        "Value 43201 for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be"
        " an integer between 0 and 43200.",
        "pear.php.net/package/Services_Amazon_SQS, its tests",
    ),
    (
        lambda sqs: sqs.change_visibility("jobs", later(sqs, received(sqs, "jobs")), 43_200),
        errors.INVALID_PARAMETER_VALUE,
        "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout"
        " for the message is beyond the limit [43200 seconds].",
        "github.com/aws/aws-sdk-net/issues/794",
    ),
    (
        purge_twice,
        errors.PURGE_QUEUE_IN_PROGRESS,
        "Only one PurgeQueue operation on jobs is allowed every 60 seconds.",
        LOCALSTACK + "test_sqs.snapshot.json",
    ),
    (
        lambda sqs: start_task(sqs, "jobs"),
        errors.INVALID_PARAMETER_VALUE,
        "Source queue must be configured as a Dead Letter Queue.",
        MOVE_TASKS,
    ),
    (
        lambda sqs: start_task(sqs, to="nowhere"),
        errors.RESOURCE_NOT_FOUND,
        "The resource that you specified for the DestinationArn parameter doesn't exist.",
        MOVE_TASKS,
    ),
    (
        start_task_twice,
        errors.INVALID_PARAMETER_VALUE,
        "There is already a task running. Only one active task is allowed for a source queue arn"
        " at a given time.",
        MOVE_TASKS,
    ),
    (
        lambda sqs: cancel_task(sqs, "foobared"),
        errors.INVALID_PARAMETER_VALUE,
        "Value for parameter TaskHandle is invalid.",
        MOVE_TASKS,
    ),
    (
        lambda sqs: cancel_task(sqs, encode_task_handle(TaskHandle("a", arn_of("nowhere")))),
        errors.RESOURCE_NOT_FOUND,
        "The resource that you specified for the SourceArn parameter doesn't exist.",
        MOVE_TASKS,
    ),
    (
        lambda sqs: cancel_task(sqs, encode_task_handle(TaskHandle("a", arn_of("dead")))),
        errors.RESOURCE_NOT_FOUND,
        "Task does not exist.",
        MOVE_TASKS,
    ),
]


def later(sqs: Sqs, message: Message) -> Message:
    sqs.wait(1)
    return message


@pytest.mark.parametrize(("act", "fault", "text", "source"), SINGLE)
def test_what_a_request_is_refused_with(
    act: Act, fault: errors.Fault, text: str, source: str
) -> None:
    with pytest.raises(SqsError) as refusal:
        act(sqs_with_queues())
    assert (refusal.value.fault, refusal.value.message) == (fault, text), source


def test_too_many_messages_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Source: https://github.com/Cbsoftware/pressureNET-server/issues/74"""
    monkeypatch.setattr("forebay.broker.core.receive.IN_FLIGHT_MESSAGES_MAX", 1)
    sqs = sqs_with_queues()
    received(sqs, "jobs")
    with pytest.raises(SqsError) as refusal:
        sqs.receive("jobs")
    assert refusal.value.message == (
        "Too many messages have been received without being deleted. Please delete your received"
        " messages or let them timeout before receiving more."
    )


#: The state of a message, the queue it is in, the queue that the request names, the call, then what
#: the call alone and what an entry of a batch is answered: fault and text, with HANDLE for the
#: receipt handle; None for success.
HANDLES: list[
    tuple[
        Callable[[Sqs, str], Message],
        str,
        str,
        str,
        tuple[errors.Fault, str] | None,
        tuple[errors.Fault, str] | None,
    ]
] = [
    # github.com/google/go-cloud, pubsub/awssnssqs, and
    # https://github.com/mapbox/ecs-watchbot/issues/135
    *(
        (
            deleted,
            queue,
            queue,
            "change",
            (
                errors.INVALID_PARAMETER_VALUE,
                "Value HANDLE for parameter ReceiptHandle is invalid. Reason: Message does not"
                " exist or is not available for visibility timeout change.",
            ),
            (
                errors.RECEIPT_HANDLE_IS_INVALID,
                "Message does not exist or is not available for visibility timeout change",
            ),
        )
        for queue in ("jobs", "jobs.fifo")
    ),
    # https://github.com/smaskalik/sqsmover/issues/54 and localstack's test_sqs.snapshot.json
    *(
        (
            expired,
            "jobs.fifo",
            "jobs.fifo",
            call,
            (
                errors.INVALID_PARAMETER_VALUE,
                "Value HANDLE for parameter ReceiptHandle is invalid. Reason: The receipt handle"
                " has expired.",
            ),
            (errors.RECEIPT_HANDLE_IS_INVALID, "The receipt handle has expired"),
        )
        for call in ("delete", "change")
    ),
    # https://github.com/aws/aws-sdk-java-v2/issues/3101
    *(
        (
            received,
            "others",
            "jobs",
            call,
            (
                errors.RECEIPT_HANDLE_IS_INVALID,
                'The receipt handle "HANDLE" is not valid for this queue.',
            ),
            (
                errors.RECEIPT_HANDLE_IS_INVALID,
                'The receipt handle "HANDLE" is not valid for this queue.',
            ),
        )
        for call in ("delete", "change")
    ),
    *((deleted, queue, queue, "delete", None, None) for queue in ("jobs", "jobs.fifo")),
    *((expired, "jobs", "jobs", call, None, None) for call in ("delete", "change")),
]


@pytest.mark.parametrize(("state", "home", "named", "call", "alone", "in_batch"), HANDLES)
def test_what_a_receipt_handle_is_answered_with(
    state: Callable[[Sqs, str], Message],
    home: str,
    named: str,
    call: str,
    alone: tuple[errors.Fault, str] | None,
    in_batch: tuple[errors.Fault, str] | None,
) -> None:
    sqs = sqs_with_queues()
    message = state(sqs, home)
    handle = message.receipt_handle
    entries = failed(sqs, named, call, handle)
    if in_batch is None:
        assert entries is None
    else:
        [entry] = entries or []
        assert entry.sender_fault
        assert (entry.code, entry.message) == (
            in_batch[0].query_code,
            in_batch[1].replace("HANDLE", handle),
        )
    if alone is not None:
        with pytest.raises(SqsError) as refusal:
            sqs.delete(named, message) if call == "delete" else sqs.change_visibility(
                named, message, 10
            )
        assert (refusal.value.fault, refusal.value.message) == (
            alone[0],
            alone[1].replace("HANDLE", handle),
        )


def failed(
    sqs: Sqs, queue: str, call: str, handle: str, timeout_s: int | None = 10
) -> list[BatchResultErrorEntry] | None:
    if call == "delete":
        return sqs.delete_batch(queue, {"a": handle}).failed
    entry = ChangeMessageVisibilityBatchRequestEntry(
        id="a", receipt_handle=handle, visibility_timeout=timeout_s
    )
    result = sqs.call(ChangeMessageVisibilityBatchRequest(queue_url=url_of(queue), entries=[entry]))
    assert isinstance(result, BatchResult)
    return result.failed


@pytest.mark.parametrize(
    ("timeout_s", "code", "text"),
    [
        (
            None,
            "MissingParameter",
            "The request must contain the parameter"
            " ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout.",
        ),
        (
            -1,
            "InvalidParameterValue",
            "Value -1 for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be"
            " an integer between 0 and 43200.",
        ),
    ],
)
def test_timeouts_that_fail_an_entry(timeout_s: int | None, code: str, text: str) -> None:
    sqs = sqs_with_queues()
    handle = received(sqs, "jobs").receipt_handle
    [entry] = failed(sqs, "jobs", "change", handle, timeout_s) or []
    assert (entry.code, entry.message, entry.sender_fault) == (code, text, True)


@pytest.mark.parametrize("call", ["delete", "change"])
def test_garbage_fails_its_entry_alone(call: str) -> None:
    """Source: https://github.com/getmoto/moto/pull/4765"""
    [entry] = failed(sqs_with_queues(), "jobs", call, "garbage") or []
    assert (entry.code, entry.message, entry.sender_fault) == (
        "ReceiptHandleIsInvalid",
        'The input receipt handle "garbage" is not a valid receipt handle.',
        True,
    )


#: What an entry of a SendMessageBatch is, the code and the text that it is answered, the source.
SENDS: list[tuple[dict[str, object], str, str, str]] = [
    (
        {"message_body": "a" * 2049},
        "InvalidParameterValue",
        "One or more parameters cannot be validated. Reason: Message must be shorter than 2048"
        " bytes.",
        "github.com/smaskalik/sqsmover/pull/23",
    ),
    (
        {"delay_seconds": 1800},
        "InvalidParameterValue",
        "Value 1800 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and"
        " <= 900.",
        "github.com/getmoto/moto/issues/5372",
    ),
    (
        {"message_deduplication_id": "d"},
        "InvalidParameterValue",
        "The request include parameter that is not valid for this queue type",
        "github.com/aws/aws-sdk-js/issues/3187",
    ),
    (
        {"message_group_id": "a b"},
        "InvalidParameterValue",
        "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in"
        " length",
        "the form of the row above",
    ),
    (
        {"message_body": ""},
        "MissingParameter",
        "The request must contain the parameter SendMessageBatchRequestEntry.1.MessageBody.",
        "the names of the Query protocol, as in github.com/ali-essam/wtsqs/issues/7",
    ),
    (
        {"message_body": "\x01"},
        "InvalidMessageContents",
        "Invalid binary character '#x1' was found in the message body, the set of allowed"
        " characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]",
        "github.com/asim/nitro-plugins/issues/437",
    ),
]


@pytest.mark.parametrize(("members", "code", "text", "source"), SENDS)
def test_sends_that_fail_an_entry(
    members: dict[str, object], code: str, text: str, source: str
) -> None:
    bad = SendMessageBatchRequestEntry(**{"id": "bad", "message_body": "a", **members})  # type: ignore[arg-type]
    good = SendMessageBatchRequestEntry(id="good", message_body="a")
    result = sqs_with_queues().call(
        SendMessageBatchRequest(queue_url=url_of("jobs"), entries=[bad, good])
    )
    assert isinstance(result, SendMessageBatchResult)
    [entry] = result.failed or []
    assert (entry.id, entry.code, entry.message) == ("bad", code, text), source
    assert entry.sender_fault
    assert [success.id for success in result.successful or []] == ["good"]


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (SendMessageBatchRequest(queue_url=url_of("jobs"), entries=[]), "SendMessageBatch"),
        (DeleteMessageBatchRequest(queue_url=url_of("jobs"), entries=[]), "DeleteMessageBatch"),
        (
            ChangeMessageVisibilityBatchRequest(queue_url=url_of("jobs"), entries=[]),
            "ChangeMessageVisibilityBatch",
        ),
    ],
)
def test_an_empty_batch_names_its_entries(
    request_: SendMessageBatchRequest
    | DeleteMessageBatchRequest
    | ChangeMessageVisibilityBatchRequest,
    name: str,
) -> None:
    """Source: https://github.com/aws/aws-sdk-php/issues/630"""
    with pytest.raises(SqsError) as refusal:
        sqs_with_queues().call(request_)
    assert refusal.value.fault is errors.EMPTY_BATCH_REQUEST
    assert refusal.value.message == (
        f"There should be at least one {name}RequestEntry in the request."
    )
