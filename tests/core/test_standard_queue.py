"""Standard queues: visibility, delay, retention, receive counts, and what handles are good for."""

from __future__ import annotations

import pytest

from forebay.broker.core.engine import Wait
from forebay.protocol import errors
from forebay.protocol.actions import (
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SetQueueAttributesRequest,
)
from forebay.protocol.errors import SqsError
from tests.core.harness import Sqs, url_of


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("jobs", {"VisibilityTimeout": 30})
    return sqs


def test_a_received_message_is_hidden_until_its_visibility_timeout_ends(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    assert sqs.bodies("jobs") == ["a"]
    sqs.wait(29.999)
    assert sqs.bodies("jobs") == []
    sqs.wait(0.001)
    assert sqs.bodies("jobs") == ["a"]


def test_every_receive_is_counted_and_dated(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    [first] = sqs.receive("jobs")
    sqs.wait(30)
    [second] = sqs.receive("jobs")
    assert first.attributes is not None
    assert second.attributes is not None
    assert first.attributes["ApproximateReceiveCount"] == "1"
    assert second.attributes["ApproximateReceiveCount"] == "2"
    first_received = first.attributes["ApproximateFirstReceiveTimestamp"]
    assert second.attributes["ApproximateFirstReceiveTimestamp"] == first_received
    assert first.receipt_handle != second.receipt_handle


def test_a_deleted_message_does_not_come_back(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    [message] = sqs.receive("jobs")
    sqs.delete("jobs", message)
    sqs.wait(60)
    assert sqs.bodies("jobs") == []
    assert sqs.counts("jobs") == (0, 0, 0)


def test_deleting_twice_succeeds(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    [message] = sqs.receive("jobs")
    sqs.delete("jobs", message)
    sqs.delete("jobs", message)


def test_an_earlier_handle_still_deletes(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    [earlier] = sqs.receive("jobs")
    sqs.wait(30)
    sqs.receive("jobs")
    sqs.delete("jobs", earlier)
    assert sqs.counts("jobs") == (0, 0, 0)


def test_an_expired_handle_still_hides_the_message(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    [message] = sqs.receive("jobs")
    sqs.wait(30)
    sqs.change_visibility("jobs", message, 10)
    assert sqs.counts("jobs") == (0, 1, 0)
    sqs.wait(10)
    assert sqs.bodies("jobs") == ["a"]


def test_visibility_zero_gives_the_message_back_at_once(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    [message] = sqs.receive("jobs")
    sqs.change_visibility("jobs", message, 0)
    assert sqs.bodies("jobs") == ["a"]


def test_a_message_is_never_hidden_longer_than_twelve_hours_in_total(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    [message] = sqs.receive("jobs", timeout_s=43_200)
    sqs.wait(1)
    with pytest.raises(SqsError, match="beyond the limit"):
        sqs.change_visibility("jobs", message, 43_200)
    sqs.change_visibility("jobs", message, 43_199)


def test_changing_the_visibility_of_a_deleted_message_is_refused(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    [message] = sqs.receive("jobs")
    sqs.delete("jobs", message)
    with pytest.raises(SqsError, match="does not exist or is not available"):
        sqs.change_visibility("jobs", message, 5)


@pytest.mark.parametrize("handle", ["garbage", "", "AAAA", "é"])
def test_a_made_up_handle_is_refused(sqs: Sqs, handle: str) -> None:
    result = sqs.delete_batch("jobs", {"a": handle})
    assert result.successful is None
    assert result.failed is not None
    assert result.failed[0].code == "ReceiptHandleIsInvalid"
    assert result.failed[0].sender_fault


def test_a_handle_of_another_queue_is_refused(sqs: Sqs) -> None:
    sqs.create("others")
    sqs.send("others", "a")
    [message] = sqs.receive("others")
    with pytest.raises(SqsError) as refusal:
        sqs.delete("jobs", message)
    assert refusal.value.fault is errors.RECEIPT_HANDLE_IS_INVALID


def test_a_delayed_message_appears_when_its_delay_ends(sqs: Sqs) -> None:
    sqs.send("jobs", "a", delay_s=5)
    assert sqs.counts("jobs") == (0, 0, 1)
    sqs.wait(4.999)
    assert sqs.bodies("jobs") == []
    sqs.wait(0.001)
    assert sqs.bodies("jobs") == ["a"]


def test_a_delay_of_zero_overrides_the_delay_of_the_queue() -> None:
    sqs = Sqs()
    sqs.create("slow", {"DelaySeconds": 10})
    sqs.send("slow", "now", delay_s=0)
    sqs.send("slow", "later")
    assert sqs.bodies("slow") == ["now"]


def test_messages_expire_in_every_state() -> None:
    sqs = Sqs()
    sqs.create("short", {"MessageRetentionPeriod": 60})
    sqs.send("short", "in flight")
    sqs.receive("short", timeout_s=600)
    sqs.send("short", "visible")
    sqs.send("short", "delayed", delay_s=900)
    assert sqs.counts("short") == (1, 1, 1)
    sqs.wait(59.999)
    assert sqs.counts("short") == (1, 1, 1)
    sqs.wait(0.001)
    assert sqs.counts("short") == (0, 0, 0)


def test_a_shorter_retention_applies_to_messages_already_there() -> None:
    sqs = Sqs()
    sqs.create("jobs")
    sqs.send("jobs", "a")
    sqs.wait(120)
    sqs.call(
        SetQueueAttributesRequest(
            queue_url=url_of("jobs"), attributes={"MessageRetentionPeriod": "60"}
        )
    )
    assert sqs.counts("jobs") == (0, 0, 0)


def test_a_message_that_came_back_waits_behind_the_others(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    sqs.send("jobs", "b")
    [message] = sqs.receive("jobs", 1)
    sqs.change_visibility("jobs", message, 0)
    assert sqs.bodies("jobs") == ["b", "a"]


def test_a_long_poll_that_finds_nothing_waits(sqs: Sqs) -> None:
    request = ReceiveMessageRequest(queue_url=url_of("jobs"), wait_time_seconds=20)
    assert sqs.call(request) == Wait(queue_number=1, until_ms=sqs.now_ms + 20_000)


def test_a_long_poll_answers_at_once_with_what_is_there(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    request = ReceiveMessageRequest(
        queue_url=url_of("jobs"), wait_time_seconds=20, max_number_of_messages=10
    )
    result = sqs.call(request)
    assert isinstance(result, ReceiveMessageResult)
    assert result.messages is not None
    assert len(result.messages) == 1


@pytest.mark.parametrize("cause", ["send", "end of a delay", "visibility timeout", "release"])
def test_waiting_receives_are_told_when_a_message_appears(sqs: Sqs, cause: str) -> None:
    if cause == "end of a delay":
        sqs.send("jobs", "a", delay_s=5)
    elif cause != "send":
        sqs.send("jobs", "a")
    messages = sqs.receive("jobs", timeout_s=5)
    sqs.engine.take_readable()
    match cause:
        case "send":
            sqs.send("jobs", "a")
        case "release":
            sqs.change_visibility("jobs", messages[0], 0)
        case _:
            due_ms = sqs.engine.next_due()
            assert due_ms == sqs.now_ms + 5000
            sqs.engine.tick(due_ms - 1)
            assert sqs.engine.take_readable() == []
            sqs.engine.tick(due_ms)
    assert sqs.engine.take_readable() == [1]


def test_an_earlier_time_than_the_latest_counts_as_the_latest(sqs: Sqs) -> None:
    sqs.send("jobs", "a")
    sqs.receive("jobs")
    sqs.wait(-3600)
    assert sqs.bodies("jobs") == []
    sqs.wait(3629)
    assert sqs.bodies("jobs") == []
    sqs.wait(1)
    assert sqs.bodies("jobs") == ["a"]


def test_the_quota_of_messages_in_flight_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.broker.core.receive.IN_FLIGHT_MESSAGES_MAX", 3)
    sqs = Sqs()
    sqs.create("jobs")
    for body in "abcd":
        sqs.send("jobs", body)
    assert sqs.bodies("jobs") == ["a", "b", "c"]
    with pytest.raises(SqsError) as refusal:
        sqs.receive("jobs")
    assert refusal.value.fault is errors.OVER_LIMIT
