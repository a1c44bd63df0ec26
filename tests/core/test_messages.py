"""What a send takes and refuses, whole and by entry, and what a receiver is shown."""

from __future__ import annotations

import pytest

from forebay.protocol import errors
from forebay.protocol.actions import (
    MessageAttributes,
    MessageAttributeValue,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageBatchResult,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.checksums import md5_of_attributes
from forebay.protocol.errors import Fault, SqsError
from tests.core.harness import Sqs, url_of

MIB = 1_048_576


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("jobs")
    sqs.create("orders.fifo")
    return sqs


def string(value: str, data_type: str = "String") -> MessageAttributeValue:
    return MessageAttributeValue(data_type=data_type, string_value=value)


def binary(value: bytes, data_type: str = "Binary") -> MessageAttributeValue:
    return MessageAttributeValue(data_type=data_type, binary_value=value)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", errors.MISSING_PARAMETER),
        ("\x00", errors.INVALID_MESSAGE_CONTENTS),
        ("a\x0bb", errors.INVALID_MESSAGE_CONTENTS),
        ("\x1f", errors.INVALID_MESSAGE_CONTENTS),
        ("\ufffe", errors.INVALID_MESSAGE_CONTENTS),
        ("\uffff", errors.INVALID_MESSAGE_CONTENTS),
        ("\ud800", errors.INVALID_MESSAGE_CONTENTS),
        ("a" * (MIB + 1), errors.INVALID_PARAMETER_VALUE),
        ("é" * (MIB // 2 + 1), errors.INVALID_PARAMETER_VALUE),
    ],
)
def test_bodies_that_are_refused(sqs: Sqs, body: str, fault: Fault) -> None:
    with pytest.raises(SqsError) as refusal:
        sqs.send("jobs", body)
    assert refusal.value.fault is fault
    assert sqs.counts("jobs") == (0, 0, 0)


@pytest.mark.parametrize("body", ["\t\n\r ", "\x7f", "\ud7ff", "\ue000\ufffd", "😀", "a" * MIB])
def test_bodies_that_are_taken_as_they_are(sqs: Sqs, body: str) -> None:
    sqs.send("jobs", body)
    assert sqs.bodies("jobs") == [body]


def test_the_limit_is_the_queues_own_and_counts_attributes() -> None:
    sqs = Sqs()
    sqs.create("small", {"MaximumMessageSize": 1024})
    attributes = {"name": string("value")}
    overhead = len("name") + len("String") + len("value")
    for excess, taken in ((0, True), (1, False)):
        request = SendMessageRequest(
            queue_url=url_of("small"),
            message_body="a" * (1024 - overhead + excess),
            message_attributes=attributes,
        )
        if taken:
            sqs.call(request)
        else:
            with pytest.raises(SqsError, match="Message must be shorter than 1024 bytes"):
                sqs.call(request)


GOOD_ATTRIBUTES = {
    "text": string("v"),
    "näme-1_2.3": string("ü", "String.label"),
    "count": string("-1.5e3", "Number.int"),
    "blob": binary(b"\x00\xff", "Binary.gif"),
}


def shown(sqs: Sqs, *names: str) -> tuple[MessageAttributes | None, str | None]:
    result = sqs.call(
        ReceiveMessageRequest(
            queue_url=url_of("jobs"), message_attribute_names=list(names), visibility_timeout=0
        )
    )
    assert isinstance(result, ReceiveMessageResult)
    assert result.messages is not None
    [message] = result.messages
    return message.message_attributes, message.md5_of_message_attributes


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ([], []),
        (["All"], list(GOOD_ATTRIBUTES)),
        (["*"], list(GOOD_ATTRIBUTES)),
        ([".*"], list(GOOD_ATTRIBUTES)),
        (["text"], ["text"]),
        (["text", "unknown", "not legal!"], ["text"]),
        (["te.*", "blob"], ["text", "blob"]),
        (["unknown"], []),
    ],
)
def test_a_receiver_is_shown_the_attributes_it_asks_for(
    sqs: Sqs, asked: list[str], names: list[str]
) -> None:
    sent = sqs.call(
        SendMessageRequest(
            queue_url=url_of("jobs"), message_body="a", message_attributes=GOOD_ATTRIBUTES
        )
    )
    assert isinstance(sent, SendMessageResult)
    assert sent.md5_of_message_attributes == md5_of_attributes(GOOD_ATTRIBUTES)
    expected = {name: GOOD_ATTRIBUTES[name] for name in names}
    digest = md5_of_attributes(expected) if expected else None
    assert shown(sqs, *asked) == (expected or None, digest)


def test_the_trace_header_has_a_digest_of_its_own(sqs: Sqs) -> None:
    header = {"AWSTraceHeader": string("Root=1-5759e988-bd862e3fe1be46a994272793")}
    sent = sqs.call(
        SendMessageRequest(
            queue_url=url_of("jobs"), message_body="a", message_system_attributes=header
        )
    )
    assert isinstance(sent, SendMessageResult)
    assert sent.md5_of_message_system_attributes == md5_of_attributes(header)
    assert sent.md5_of_message_attributes is None
    [message] = sqs.receive("jobs")
    assert message.attributes is not None
    assert message.attributes["AWSTraceHeader"] == header["AWSTraceHeader"].string_value


def test_a_group_on_a_standard_queue_is_kept_and_shown(sqs: Sqs) -> None:
    assert sqs.send("jobs", "a", group="tenant-1").sequence_number is None
    [message] = sqs.receive("jobs")
    assert message.attributes is not None
    assert message.attributes["MessageGroupId"] == "tenant-1"
    assert "SequenceNumber" not in message.attributes


def test_a_deduplication_id_on_a_standard_queue_is_refused(sqs: Sqs) -> None:
    with pytest.raises(SqsError, match="not valid for this queue type"):
        sqs.send("jobs", "a", deduplication_id="d")


@pytest.mark.parametrize("delay_s", [-1, 901])
def test_delays_that_are_refused(sqs: Sqs, delay_s: int) -> None:
    with pytest.raises(SqsError, match="DelaySeconds must be >= 0 and <= 900"):
        sqs.send("jobs", "a", delay_s=delay_s)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"max_number_of_messages": 0}, "MaxNumberOfMessages is invalid"),
        ({"max_number_of_messages": 11}, "MaxNumberOfMessages is invalid"),
        ({"wait_time_seconds": -1}, "WaitTimeSeconds is invalid"),
        ({"wait_time_seconds": 21}, "WaitTimeSeconds is invalid"),
        ({"visibility_timeout": -1}, "VisibilityTimeout is invalid"),
        ({"visibility_timeout": 43_201}, "VisibilityTimeout is invalid"),
        ({"attribute_names": ["Colour"]}, "Unknown Attribute Colour"),
        ({"receive_request_attempt_id": "a b"}, "ReceiveRequestAttemptId"),
    ],
)
def test_receives_that_are_refused(sqs: Sqs, members: dict[str, object], text: str) -> None:
    request = ReceiveMessageRequest(queue_url=url_of("jobs"), **members)  # type: ignore[arg-type]
    with pytest.raises(SqsError, match=text):
        sqs.call(request)


def batch(sqs: Sqs, queue: str, *entries: SendMessageBatchRequestEntry) -> SendMessageBatchResult:
    result = sqs.call(SendMessageBatchRequest(queue_url=url_of(queue), entries=list(entries)))
    assert isinstance(result, SendMessageBatchResult)
    return result


def entry(name: str, body: str = "a", group: str | None = None) -> SendMessageBatchRequestEntry:
    return SendMessageBatchRequestEntry(id=name, message_body=body, message_group_id=group)


@pytest.mark.parametrize(
    ("entries", "fault", "text"),
    [
        ([], errors.EMPTY_BATCH_REQUEST, "at least one SendMessageBatchRequestEntry"),
        (
            [entry(str(index)) for index in range(20)],
            errors.TOO_MANY_ENTRIES_IN_BATCH_REQUEST,
            r"You have sent 20\.",
        ),
        ([entry("a b")], errors.INVALID_BATCH_ENTRY_ID, "alphanumeric"),
        ([entry("é")], errors.INVALID_BATCH_ENTRY_ID, "alphanumeric"),
        ([entry("")], errors.INVALID_BATCH_ENTRY_ID, "alphanumeric"),
        ([entry("a" * 81)], errors.INVALID_BATCH_ENTRY_ID, "80"),
        (
            [entry("x"), entry("a"), entry("a"), entry("x")],
            errors.BATCH_ENTRY_IDS_NOT_DISTINCT,
            "Id a repeated",
        ),
        (
            [entry("a", "a" * MIB), entry("b", "b")],
            errors.BATCH_REQUEST_TOO_LONG,
            "cannot be longer than 1048576 bytes. You have sent 1048577 bytes",
        ),
    ],
)
def test_batches_that_are_refused_whole(
    sqs: Sqs, entries: list[SendMessageBatchRequestEntry], fault: Fault, text: str
) -> None:
    with pytest.raises(SqsError, match=text) as refusal:
        batch(sqs, "jobs", *entries)
    assert refusal.value.fault is fault
    assert sqs.counts("jobs") == (0, 0, 0)


def test_bad_entries_fail_alone() -> None:
    sqs = Sqs()
    sqs.create("small", {"MaximumMessageSize": 1024})
    result = batch(
        sqs, "small", entry("long", "a" * 1025), entry("control", "\x01"), entry("good", "ok")
    )
    assert [success.id for success in result.successful or []] == ["good"]
    assert [(failure.id, failure.code) for failure in result.failed or []] == [
        ("long", "InvalidParameterValue"),
        ("control", "InvalidMessageContents"),
    ]
    assert all(failure.sender_fault for failure in result.failed or [])
    assert sqs.bodies("small") == ["ok"]


def test_one_fifo_entry_without_its_group_fails_the_batch(sqs: Sqs) -> None:
    with pytest.raises(SqsError, match="MessageGroupId") as refusal:
        batch(sqs, "orders.fifo", entry("a", group="g"), entry("b"))
    assert refusal.value.fault is errors.INVALID_PARAMETER_VALUE
    assert sqs.counts("orders.fifo") == (0, 0, 0)


def test_a_fifo_batch_keeps_its_order_and_collapses_duplicates(sqs: Sqs) -> None:
    result = batch(
        sqs,
        "orders.fifo",
        entry("1", "a", "g"),
        entry("2", "b", "g"),
        entry("3", "a", "g"),
    )
    first, second, third = result.successful or []
    assert third.message_id == first.message_id
    assert second.message_id != first.message_id
    assert sqs.bodies("orders.fifo") == ["a", "b"]
