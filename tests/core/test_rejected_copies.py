"""The copy of a rejected message in the dead-letter queue is redriven like any dead letter."""

from __future__ import annotations

import pytest

from forebay.broker.core.engine import Caller
from forebay.protocol.actions import (
    CreateQueueRequest,
    MessageAttributes,
    MessageAttributeValue,
    SendMessageRequest,
)
from forebay.protocol.checksums import md5_of_attributes
from forebay.protocol.rejection import (
    MESSAGE_ID_ATTRIBUTE,
    REASON_ATTRIBUTE,
    SOURCE_ARN_ATTRIBUTE,
)
from tests.core.harness import ENDPOINT_URL, JournaledSqs, Sqs, arn_of, url_of
from tests.core.test_move_tasks import run, start, tasks, with_dead_letters


def text(value: str) -> MessageAttributeValue:
    return MessageAttributeValue(data_type="String", string_value=value)


def reject(sqs: Sqs, source_arn: str, suffix: str = "", **attributes: str) -> None:
    """What a worker's Reject does, but for deleting the message."""
    sqs.call(
        SendMessageRequest(
            queue_url=url_of(f"dead{suffix}"),
            message_body="rejected",
            message_group_id="g" if suffix else None,
            message_deduplication_id="reject-m-7" if suffix else None,
            message_attributes={
                **{name: text(value) for name, value in attributes.items()},
                SOURCE_ARN_ATTRIBUTE: text(source_arn),
                REASON_ATTRIBUTE: text("no such seat"),
                MESSAGE_ID_ATTRIBUTE: text("m-7"),
            },
        )
    )


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_it_goes_back_as_it_was_among_other_dead_letters(suffix: str) -> None:
    sqs = JournaledSqs()
    with_dead_letters(2, suffix, sqs)
    reject(sqs, arn_of(f"jobs{suffix}"), suffix, tenant="t-1")
    sqs.restart()
    start(sqs, f"dead{suffix}")
    run(sqs, 1)
    assert tasks(sqs, f"dead{suffix}")[0].status == "COMPLETED"
    received = sqs.receive(f"jobs{suffix}")
    assert [message.body for message in received] == ["m1", "m2", "rejected"]
    expected: MessageAttributes = {"tenant": text("t-1")}
    assert received[2].message_attributes == expected
    assert received[2].md5_of_message_attributes == md5_of_attributes(expected)


def test_without_attributes_of_its_own_it_has_none_again() -> None:
    sqs = with_dead_letters(0)
    reject(sqs, arn_of("jobs"))
    start(sqs)
    run(sqs, 1)
    [message] = sqs.receive("jobs")
    assert (message.message_attributes, message.md5_of_message_attributes) == (None, None)


def test_another_destination_is_told_why_it_was_rejected() -> None:
    sqs = with_dead_letters(0)
    reject(sqs, arn_of("jobs"))
    start(sqs, to="other")
    run(sqs, 1)
    [message] = sqs.receive("other")
    assert (message.message_attributes or {})[REASON_ATTRIBUTE] == text("no such seat")


@pytest.mark.parametrize(
    "source_arn",
    [
        arn_of("nowhere"),
        arn_of("other"),
        arn_of("dead"),
        "arn:aws:sqs:us-east-1:111111111111:jobs",
        "arn:aws:sqs:eu-west-1:000000000000:jobs",
        "jobs",
    ],
)
def test_a_source_that_has_another_dead_letter_queue_is_not_believed(source_arn: str) -> None:
    sqs = with_dead_letters(0)
    theirs = Caller("111111111111", "us-east-1", ENDPOINT_URL)
    sqs.engine.apply(CreateQueueRequest(queue_name="jobs"), theirs, sqs.now_ms)
    reject(sqs, source_arn)
    start(sqs)
    run(sqs, 1)
    [task] = tasks(sqs)
    assert (task.status, task.failure_reason) == ("FAILED", "CouldNotDetermineMessageSource")
    assert sqs.counts("dead") == (1, 0, 0)
