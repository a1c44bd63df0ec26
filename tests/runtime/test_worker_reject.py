"""The copy that a rejected message leaves in the dead-letter queue."""

from __future__ import annotations

import pytest

from forebay.client.fake import ScriptedSqsClient
from forebay.messages.packing import PACK_ATTRIBUTE
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    MessageAttributeValue,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.limits import MESSAGE_BYTES_MAX
from forebay.protocol.rejection import (
    MESSAGE_ID_ATTRIBUTE,
    REASON_ATTRIBUTE,
    SOURCE_ARN_ATTRIBUTE,
)
from forebay.worker.reject import (
    REASON_CHARACTERS_MAX,
    NoDeadLetterQueue,
    Rejecter,
    dead_letter_copy,
)
from tests.runtime.worker_messages import message, pack_attributes

SOURCE_ARN = "arn:aws:sqs:us-east-1:000000000000:orders.fifo"
DLQ_URL = "http://sqs.test/000000000000/orders-dlq.fifo"
DLQ_ARN = "arn:aws:sqs:us-east-1:000000000000:orders-dlq.fifo"


def text(value: str) -> MessageAttributeValue:
    return MessageAttributeValue(data_type="String", string_value=value)


def copy_of(reason: str = "no such seat", **described: object) -> SendMessageRequest:
    return dead_letter_copy(
        message(**described),  # type: ignore[arg-type]
        queue_url=DLQ_URL,
        source_arn=SOURCE_ARN,
        reason=reason,
    )


def test_a_copy_keeps_the_message_and_says_where_it_comes_from_and_why() -> None:
    copy = copy_of(
        identifier="m-7",
        body="seat 12",
        group_id="concert#A",
        attributes={"tenant": text("t-1")},
        trace_header="Root=1-2",
    )
    assert copy == SendMessageRequest(
        queue_url=DLQ_URL,
        message_body="seat 12",
        message_group_id="concert#A",
        message_deduplication_id="reject-m-7",
        message_attributes={
            "tenant": text("t-1"),
            SOURCE_ARN_ATTRIBUTE: text(SOURCE_ARN),
            REASON_ATTRIBUTE: text("no such seat"),
            MESSAGE_ID_ATTRIBUTE: text("m-7"),
        },
        message_system_attributes={"AWSTraceHeader": text("Root=1-2")},
    )


def test_a_second_copy_of_the_same_message_collapses_into_the_first_on_a_fifo_queue() -> None:
    first, second = copy_of("one reason"), copy_of("another reason")
    assert first.message_deduplication_id == second.message_deduplication_id


def test_a_standard_queue_gets_no_deduplication_id_and_keeps_the_tenant() -> None:
    copy = dead_letter_copy(
        message(group_id="tenant-1"),
        queue_url="http://sqs.test/000000000000/jobs-dlq",
        source_arn=SOURCE_ARN,
        reason="r",
    )
    assert (copy.message_deduplication_id, copy.message_group_id) == (None, "tenant-1")


def test_the_ten_attributes_that_sqs_takes_always_tell_where_from_and_why() -> None:
    copy = copy_of(attributes={f"a{number}": text("x") for number in range(10)})
    assert list(copy.message_attributes or {}) == [
        *(f"a{number}" for number in range(7)),
        SOURCE_ARN_ATTRIBUTE,
        REASON_ATTRIBUTE,
        MESSAGE_ID_ATTRIBUTE,
    ]


def test_a_copy_of_a_pack_never_lacks_what_the_pack_holds() -> None:
    others = {f"attribute-{number}": text("x") for number in range(9)}
    kept = copy_of(attributes=others | pack_attributes(b"content")).message_attributes
    assert kept is not None
    assert len(kept) == 10
    assert kept[PACK_ATTRIBUTE].binary_value == b"content"


@pytest.mark.parametrize(
    ("room_bytes", "told"),
    [
        (1_000, [SOURCE_ARN_ATTRIBUTE, REASON_ATTRIBUTE, MESSAGE_ID_ATTRIBUTE]),
        (100, [SOURCE_ARN_ATTRIBUTE, MESSAGE_ID_ATTRIBUTE]),
        (0, []),
    ],
)
def test_a_copy_is_never_longer_than_sqs_takes(room_bytes: int, told: list[str]) -> None:
    tenant = {"tenant": text("t-1")}
    size_bytes = MESSAGE_BYTES_MAX - len("tenantStringt-1") - room_bytes
    body = "\u00e9" * (size_bytes // 2) + "x" * (size_bytes % 2)
    copy = copy_of("r" * 500, body=body, attributes=tenant)
    assert list(copy.message_attributes or {}) == ["tenant", *told]


def test_a_copy_for_a_fifo_queue_has_a_group_though_the_original_has_none() -> None:
    assert (copy_of(identifier="m-7").message_group_id) == "m-7"


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("", "no reason given"),
        ("a\x00b\ud800c\uffff", "a\ufffdb\ufffdc\ufffd"),
        ("tab\tand\nline \U0001f3ab", "tab\tand\nline \U0001f3ab"),
        ("x" * 5000, "x" * REASON_CHARACTERS_MAX),
    ],
)
def test_a_reason_is_made_fit_for_sqs(reason: str, kept: str) -> None:
    assert (copy_of(reason).message_attributes or {})[REASON_ATTRIBUTE] == text(kept)


def test_a_copy_that_is_rejected_again_tells_of_the_latest_rejection() -> None:
    copy = copy_of("second", attributes={REASON_ATTRIBUTE: text("first")})
    assert (copy.message_attributes or {})[REASON_ATTRIBUTE] == text("second")


def service() -> ScriptedSqsClient:
    async def answer(request: AnyRequest) -> AnyResult:
        if isinstance(request, GetQueueUrlRequest):
            account = request.queue_owner_aws_account_id or "111111111111"
            return GetQueueUrlResult(queue_url=f"http://sqs.test/{account}/{request.queue_name}")
        return SendMessageResult(message_id="copy", md5_of_message_body="")

    return ScriptedSqsClient(answer)


@pytest.mark.parametrize(
    ("named", "url", "looked_up"),
    [
        (DLQ_ARN, DLQ_URL, 1),
        (DLQ_URL, DLQ_URL, 0),
        ("mine.fifo", "http://sqs.test/111111111111/mine.fifo", 1),
    ],
)
async def test_the_dead_letter_queue_is_looked_up_once(
    named: str, url: str, looked_up: int
) -> None:
    client = service()
    rejecter = Rejecter(client, SOURCE_ARN, named)
    await rejecter.send_copy(message("a"), "r")
    await rejecter.send_copy(message("b"), "r")
    kinds = [type(request) for request in client.requests]
    assert kinds == [GetQueueUrlRequest] * looked_up + [SendMessageRequest] * 2
    sent = client.requests[-1]
    assert isinstance(sent, SendMessageRequest)
    assert sent.queue_url == url


async def test_without_a_dead_letter_queue_the_error_says_what_to_do() -> None:
    with pytest.raises(NoDeadLetterQueue, match="RedrivePolicy"):
        await Rejecter(service(), SOURCE_ARN, None).send_copy(message(), "r")
