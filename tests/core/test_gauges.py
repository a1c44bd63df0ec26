"""What CloudWatch tells of a queue beside its counts."""

from __future__ import annotations

import json

import pytest

from forebay.broker.core.engine import QueueView
from forebay.broker.core.gauges import FairGauges
from tests.core.harness import Sqs, arn_of


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


def view(sqs: Sqs, queue: str) -> QueueView:
    [found] = [view for view in sqs.engine.view_queues(sqs.now_ms) if view.name == queue]
    return found


def test_the_oldest_age_leaves_out_what_was_received_three_times(sqs: Sqs) -> None:
    sqs.create("jobs")
    sqs.send("jobs", "poison")
    sqs.wait(10)
    for receives in range(3):
        assert view(sqs, "jobs").oldest_unprocessed_age_s == 10, receives
        sqs.receive("jobs", timeout_s=0)
    assert view(sqs, "jobs").oldest_unprocessed_age_s == 0
    sqs.send("jobs", "good")
    sqs.wait(5)
    assert view(sqs, "jobs").oldest_unprocessed_age_s == 5
    assert view(sqs, "jobs").oldest_message_age_s == 15


def test_the_oldest_age_starts_anew_in_a_dead_letter_queue(sqs: Sqs) -> None:
    sqs.create("dead")
    policy = {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 3}
    sqs.create("jobs", {"RedrivePolicy": json.dumps(policy)})
    sqs.send("jobs", "bad")
    for _ in range(3):
        sqs.wait(10)
        sqs.receive("jobs", timeout_s=0)
    assert sqs.receive("jobs") == []
    sqs.wait(7)
    assert view(sqs, "dead").oldest_unprocessed_age_s == 7
    assert view(sqs, "dead").oldest_message_age_s == 37


def test_an_empty_queue_has_no_age(sqs: Sqs) -> None:
    sqs.create("jobs")
    assert view(sqs, "jobs").oldest_unprocessed_age_s == 0
    assert view(sqs, "jobs").fair == FairGauges(0, 0, 0, 0, 0)


def test_quiet_groups_are_counted_without_the_noisy_ones(sqs: Sqs) -> None:
    sqs.create("jobs", {"VisibilityTimeout": 600})
    for number in range(100):
        sqs.send("jobs", f"n{number}", group="noisy")
    for _ in range(4):
        sqs.receive("jobs", 10)
    sqs.wait(20)
    for number in range(3):
        sqs.send("jobs", f"q{number}", group="quiet")
    sqs.send("jobs", "late", group="quiet", delay_s=60)
    sqs.send("jobs", "late too", group="noisy", delay_s=60)
    assert len(sqs.receive("jobs", 1)) == 1
    sqs.wait(5)
    shown = view(sqs, "jobs")
    assert (shown.visible, shown.in_flight, shown.delayed) == (62, 41, 2)
    assert shown.fair == FairGauges(1, 2, 1, 1, 5)
    assert shown.oldest_unprocessed_age_s == 25
    assert shown.groups_in_flight is None


def test_without_noisy_groups_every_message_is_quiet(sqs: Sqs) -> None:
    sqs.create("jobs")
    sqs.send("jobs", "a", group="one")
    sqs.send("jobs", "b")
    sqs.receive("jobs", 1)
    sqs.wait(2)
    assert view(sqs, "jobs").fair == FairGauges(0, 1, 1, 0, 2)


def test_a_fifo_queue_counts_its_groups_in_flight(sqs: Sqs) -> None:
    sqs.create("orders.fifo")
    for group, body in (("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")):
        sqs.send("orders.fifo", body, group=group)
    assert view(sqs, "orders.fifo").groups_in_flight == 0
    sqs.receive("orders.fifo", 3)
    assert view(sqs, "orders.fifo").groups_in_flight == 2
    assert view(sqs, "orders.fifo").fair is None
