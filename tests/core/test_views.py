"""Looking at queues and messages changes nothing."""

from __future__ import annotations

import json

import pytest

from forebay.broker.core.engine import MessageView, QueueView
from forebay.broker.core.queue import QueueTotals
from forebay.protocol.errors import SqsError
from tests.core.harness import CALLER, Sqs, arn_of, url_of


def peek(sqs: Sqs, queue: str, limit: int = 1000) -> list[MessageView]:
    return sqs.engine.peek(url_of(queue), CALLER, sqs.now_ms, limit)


def view(sqs: Sqs, queue: str) -> QueueView:
    [found] = [view for view in sqs.engine.view_queues(sqs.now_ms) if view.name == queue]
    return found


def test_a_peek_shows_messages_in_every_state_and_receives_none() -> None:
    sqs = Sqs()
    sqs.create("jobs")
    sqs.send("jobs", "in flight")
    sqs.receive("jobs", timeout_s=30)
    sqs.send("jobs", "visible", group="tenant")
    sqs.send("jobs", "delayed", delay_s=5)
    sqs.wait(1)
    for _ in range(2):
        shown = [(look.body, look.state, look.visible_in_s) for look in peek(sqs, "jobs")]
        assert shown == [
            ("in flight", "IN_FLIGHT", 29),
            ("visible", "VISIBLE", None),
            ("delayed", "DELAYED", 4),
        ]
    assert peek(sqs, "jobs")[1].message_group_id == "tenant"
    assert len(peek(sqs, "jobs", 2)) == 2
    [message] = sqs.receive("jobs")
    assert message.attributes is not None
    assert message.attributes["ApproximateReceiveCount"] == "1"


def test_a_peek_at_a_fifo_queue_shows_its_numbers() -> None:
    sqs = Sqs()
    sqs.create("orders.fifo")
    sent = sqs.send("orders.fifo", "a", group="g", deduplication_id="d")
    [look] = peek(sqs, "orders.fifo")
    assert look.sequence_number == sent.sequence_number
    assert (look.message_group_id, look.deduplication_id) == ("g", "d")


def test_a_peek_at_no_queue_is_refused() -> None:
    with pytest.raises(SqsError):
        peek(Sqs(), "nowhere")


def test_a_view_counts_messages_and_what_happened_to_them() -> None:
    sqs = Sqs()
    sqs.create("dead.fifo")
    policy = {"deadLetterTargetArn": arn_of("dead.fifo"), "maxReceiveCount": 1}
    sqs.create("jobs.fifo", {"RedrivePolicy": json.dumps(policy), "MessageRetentionPeriod": 60})
    for body in ("a", "a", "b", "c"):
        sqs.send("jobs.fifo", body, group=body)
    first, second, _ = sqs.receive("jobs.fifo", timeout_s=1)
    sqs.delete("jobs.fifo", first)
    sqs.change_visibility("jobs.fifo", second, 0)
    assert sqs.receive("jobs.fifo") == []
    sqs.wait(0.5)
    assert view(sqs, "jobs.fifo").in_flight == 1
    assert view(sqs, "jobs.fifo").oldest_message_age_s == 0.5
    sqs.wait(60)
    assert view(sqs, "jobs.fifo").totals == QueueTotals(
        sent=3, deduplicated=1, received=3, deleted=1, dead_lettered=1, expired=1
    )
    assert view(sqs, "jobs.fifo").oldest_message_age_s == 0
    assert view(sqs, "dead.fifo").visible == 1
