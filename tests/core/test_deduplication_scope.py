"""A queue whose DeduplicationScope changes goes on in the former scope for a while."""

from __future__ import annotations

import pytest

from tests.core.harness import JournaledSqs

RESTARTS = pytest.mark.parametrize("restarts", [False, True])


def opened(scope: str) -> JournaledSqs:
    sqs = JournaledSqs()
    sqs.create("jobs.fifo", {"DeduplicationScope": scope})
    return sqs


def change(sqs: JournaledSqs, scope: str) -> None:
    sqs.set_attributes("jobs.fifo", DeduplicationScope=scope)


def collapses(sqs: JournaledSqs, identifier: str, first: str, second: str) -> bool:
    """Whether the id in a second group is the message of the first."""
    return send(sqs, identifier, first) == send(sqs, identifier, second)


def send(sqs: JournaledSqs, identifier: str, group: str) -> str:
    return sqs.send("jobs.fifo", "a", group=group, deduplication_id=identifier).message_id


@RESTARTS
@pytest.mark.parametrize(
    ("former", "later"), [("queue", "messageGroup"), ("messageGroup", "queue")]
)
def test_new_ids_go_on_in_the_former_scope_for_five_minutes(
    former: str, later: str, restarts: bool
) -> None:
    sqs = opened(former)
    change(sqs, later)
    if restarts:
        sqs.restart()
    sqs.wait(299.999)
    assert collapses(sqs, "d", "g1", "g2") is (former == "queue")
    sqs.wait(0.001)
    if restarts:
        sqs.restart()
    assert collapses(sqs, "e", "g1", "g2") is (later == "queue")


@RESTARTS
@pytest.mark.parametrize("sent_at_s", [-100, 0, 100, 299])
@pytest.mark.parametrize(
    ("former", "later", "group"),
    [("queue", "messageGroup", "g2"), ("messageGroup", "queue", "g1")],
)
def test_an_id_that_was_seen_collapses_for_five_minutes_whatever_changes(
    former: str, later: str, group: str, sent_at_s: int, restarts: bool
) -> None:
    sqs = opened(former)
    sent: list[str] = []
    for at_s in range(-100, 299):
        if at_s == sent_at_s:
            sent.append(send(sqs, "d", "g1"))
        if at_s == 0:
            change(sqs, later)
        sqs.wait(1)
    first = sent[0] if sent else send(sqs, "d", "g1")
    sqs.wait(300 - (299 - sent_at_s) - 0.001)
    if restarts:
        sqs.restart()
    assert send(sqs, "d", group) == first
    sqs.wait(0.001)
    assert send(sqs, "d", group) != first


def test_a_scope_that_is_changed_back_in_time_was_never_changed() -> None:
    sqs = opened("queue")
    change(sqs, "messageGroup")
    sqs.wait(299)
    change(sqs, "queue")
    for _ in range(20):
        assert collapses(sqs, "d", "g1", "g2")
        sqs.wait(60)


def test_a_scope_that_is_changed_back_later_takes_as_long_again() -> None:
    sqs = opened("queue")
    change(sqs, "messageGroup")
    sqs.wait(301)
    change(sqs, "queue")
    sqs.wait(299)
    assert not collapses(sqs, "d", "g1", "g2")
    sqs.wait(1)
    assert collapses(sqs, "e", "g1", "g2")


def test_without_a_change_the_scope_is_in_force_at_once() -> None:
    sqs = opened("messageGroup")
    sqs.set_attributes("jobs.fifo", DeduplicationScope="messageGroup", DelaySeconds=1)
    assert not collapses(sqs, "d", "g1", "g2")
