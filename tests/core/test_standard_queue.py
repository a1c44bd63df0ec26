"""Standard queues: visibility, delay, retention, receive counts, and what handles are good for."""

from __future__ import annotations

import pytest

from forebay.broker.core.engine import Wait
from forebay.protocol import errors
from forebay.protocol.actions import (
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SetQueueAttributesRequest,
)
from forebay.protocol.errors import SqsError
from tests.core.harness import JournaledSqs, Sqs, url_of


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


@pytest.mark.parametrize("timeout_s", [0, 600])
@pytest.mark.parametrize("in_batch", [False, True])
def test_a_handle_whose_timeout_ended_hides_nothing(
    sqs: Sqs, timeout_s: int, in_batch: bool
) -> None:
    sqs.send("jobs", "a")
    [message] = sqs.receive("jobs")
    sqs.wait(30)
    change(sqs, message, timeout_s, in_batch=in_batch)
    assert sqs.counts("jobs") == (1, 0, 0)


@pytest.mark.parametrize("timeout_s", [0, 1, 600])
@pytest.mark.parametrize("in_batch", [False, True])
def test_a_late_change_leaves_alone_what_somebody_else_holds(
    sqs: Sqs, timeout_s: int, in_batch: bool
) -> None:
    sqs.send("jobs", "a")
    [earlier] = sqs.receive("jobs")
    sqs.wait(30)
    [later] = sqs.receive("jobs")
    change(sqs, earlier, timeout_s, in_batch=in_batch)
    sqs.wait(29.999)
    assert sqs.counts("jobs") == (0, 1, 0)
    sqs.wait(0.001)
    assert sqs.counts("jobs") == (1, 0, 0)
    sqs.delete("jobs", later)
    assert sqs.counts("jobs") == (0, 0, 0)


def test_a_late_change_after_a_restart_changes_nothing() -> None:
    sqs = JournaledSqs()
    sqs.create("jobs", {"VisibilityTimeout": 30})
    sqs.send("jobs", "a")
    [earlier] = sqs.receive("jobs")
    sqs.wait(30)
    sqs.receive("jobs")
    sqs.restart()
    sqs.change_visibility("jobs", earlier, 0)
    assert sqs.counts("jobs") == (0, 1, 0)


def change(sqs: Sqs, message: Message, timeout_s: int, *, in_batch: bool) -> None:
    if in_batch:
        entry = ChangeMessageVisibilityBatchRequestEntry(
            id="a", receipt_handle=message.receipt_handle, visibility_timeout=timeout_s
        )
        result = sqs.call(
            ChangeMessageVisibilityBatchRequest(queue_url=url_of("jobs"), entries=[entry])
        )
        assert isinstance(result, BatchResult)
        assert result.failed is None
    else:
        sqs.change_visibility("jobs", message, timeout_s)


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


@pytest.mark.parametrize("handle", ["garbage", "AAAA", "é"])
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


def at_the_quota(monkeypatch: pytest.MonkeyPatch, queue: str) -> tuple[Sqs, list[Message]]:
    """Three messages in flight, which is all there may be, and one that is visible."""
    monkeypatch.setattr("forebay.broker.core.receive.IN_FLIGHT_MESSAGES_MAX", 3)
    sqs = Sqs()
    sqs.create(queue, {"VisibilityTimeout": 30})
    for body in "abcd":
        sqs.send(queue, body, group=body if queue.endswith(".fifo") else None)
    messages = sqs.receive(queue)
    assert [message.body for message in messages] == ["a", "b", "c"]
    sqs.engine.take_readable()
    return sqs, messages


def test_a_short_poll_at_the_quota_of_messages_in_flight_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sqs, messages = at_the_quota(monkeypatch, "jobs")
    with pytest.raises(SqsError) as refusal:
        sqs.receive("jobs")
    assert refusal.value.fault is errors.OVER_LIMIT
    sqs.delete("jobs", messages[0])
    assert sqs.bodies("jobs") == ["d"]


@pytest.mark.parametrize("room", ["delete", "release", "visibility timeout"])
def test_a_long_poll_at_the_quota_waits_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    sqs, messages = at_the_quota(monkeypatch, "jobs")
    poll = ReceiveMessageRequest(
        queue_url=url_of("jobs"), wait_time_seconds=20, max_number_of_messages=10
    )
    assert sqs.call(poll) == Wait(queue_number=1, until_ms=sqs.now_ms + 20_000)
    assert sqs.engine.take_readable() == []
    match room:
        case "delete":
            sqs.delete("jobs", messages[0])
        case "release":
            sqs.change_visibility("jobs", messages[0], 0)
        case _:
            sqs.wait(30)
            sqs.engine.tick(sqs.now_ms)
    assert sqs.engine.take_readable() == [1]
    result = sqs.call(poll)
    assert isinstance(result, ReceiveMessageResult)
    assert result.messages


def test_a_queue_that_waits_by_itself_waits_at_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    sqs, _ = at_the_quota(monkeypatch, "jobs")
    sqs.call(
        SetQueueAttributesRequest(
            queue_url=url_of("jobs"), attributes={"ReceiveMessageWaitTimeSeconds": "5"}
        )
    )
    assert isinstance(sqs.call(ReceiveMessageRequest(queue_url=url_of("jobs"))), Wait)


def test_a_fifo_queue_at_the_quota_has_no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    sqs, messages = at_the_quota(monkeypatch, "jobs.fifo")
    assert sqs.bodies("jobs.fifo") == []
    sqs.delete("jobs.fifo", messages[0])
    assert sqs.bodies("jobs.fifo") == ["d"]
