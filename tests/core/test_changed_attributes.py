"""Which messages a changed attribute reaches: those that are in the queue, or later ones."""

from __future__ import annotations

import json

import pytest

from forebay.broker.core.window import Window
from forebay.protocol.actions import PurgeQueueRequest, ReceiveMessageRequest
from tests.core.harness import JournaledSqs, Sqs, arn_of, url_of

WINDOWS = pytest.mark.parametrize(
    "window", [Window(), Window(messages=4, page_messages=2)], ids=["in memory", "deep"]
)
RESTARTS = pytest.mark.parametrize("restarts", [False, True])
COUNT = 12


def delayed(window: Window, delay_s: int) -> JournaledSqs:
    """Messages of a FIFO queue, a second apart, in a group each."""
    sqs = JournaledSqs(window)
    sqs.create("jobs.fifo", {"DelaySeconds": delay_s})
    for number in range(COUNT):
        sqs.send("jobs.fifo", str(number), group=str(number))
        sqs.wait(1)
    return sqs


def receive_all(sqs: JournaledSqs, queue: str = "jobs.fifo") -> list[str]:
    bodies: list[str] = []
    while received := sqs.bodies(queue):
        bodies += received
    return sorted(bodies, key=int)


@WINDOWS
@RESTARTS
def test_a_fifo_queue_without_its_delay_has_every_message_at_once(
    window: Window, restarts: bool
) -> None:
    sqs = delayed(window, 900)
    assert sqs.counts("jobs.fifo") == (0, 0, COUNT)
    sqs.set_attributes("jobs.fifo", DelaySeconds=0)
    if restarts:
        sqs.restart()
    assert sqs.counts("jobs.fifo") == (COUNT, 0, 0)
    assert receive_all(sqs) == [str(number) for number in range(COUNT)]


@WINDOWS
@RESTARTS
@pytest.mark.parametrize("before_s", [20, 900])
def test_a_new_delay_counts_from_the_send(window: Window, restarts: bool, before_s: int) -> None:
    sqs = delayed(window, before_s)
    sqs.set_attributes("jobs.fifo", DelaySeconds=100)
    sqs.send("jobs.fifo", str(COUNT), group="new")
    if restarts:
        sqs.restart()
    assert sqs.counts("jobs.fifo") == (0, 0, COUNT + 1)
    sqs.wait(100 - COUNT)
    for number in range(COUNT + 1):
        assert sqs.counts("jobs.fifo")[2] == COUNT - number
        assert receive_all(sqs) == [str(number)]
        sqs.wait(1)


@WINDOWS
@RESTARTS
def test_a_delay_that_has_ended_stays_ended(window: Window, restarts: bool) -> None:
    sqs = delayed(window, 6)
    assert sqs.counts("jobs.fifo") == (7, 0, 5)
    for delay_s in (0, 900, 300):
        sqs.set_attributes("jobs.fifo", DelaySeconds=delay_s)
    sqs.send("jobs.fifo", "99", group="late")
    if restarts:
        sqs.restart()
    assert sqs.counts("jobs.fifo") == (COUNT, 0, 1)
    assert receive_all(sqs) == [str(number) for number in range(COUNT)]
    sqs.wait(300)
    assert "99" in receive_all(sqs)


@RESTARTS
def test_a_received_message_is_delayed_no_more(restarts: bool) -> None:
    sqs = delayed(Window(), 900)
    sqs.set_attributes("jobs.fifo", DelaySeconds=0)
    for message in sqs.receive("jobs.fifo"):
        sqs.change_visibility("jobs.fifo", message, 0)
    sqs.set_attributes("jobs.fifo", DelaySeconds=900)
    if restarts:
        sqs.restart()
    assert sqs.counts("jobs.fifo") == (COUNT, 0, 0)


@RESTARTS
def test_after_a_purge_a_changed_delay_reaches_nothing(restarts: bool) -> None:
    sqs = delayed(Window(messages=4, page_messages=2), 900)
    sqs.set_attributes("jobs.fifo", DelaySeconds=800)
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs.fifo")))
    sqs.send("jobs.fifo", "new", group="new")
    if restarts:
        sqs.restart()
    assert sqs.counts("jobs.fifo") == (0, 0, 1)


@WINDOWS
def test_a_waiting_receive_is_told(window: Window) -> None:
    sqs = delayed(window, 900)
    sqs.call(ReceiveMessageRequest(queue_url=url_of("jobs.fifo"), wait_time_seconds=20))
    sqs.engine.take_readable()
    sqs.set_attributes("jobs.fifo", DelaySeconds=0)
    assert sqs.engine.take_readable() == [1]


@WINDOWS
@RESTARTS
def test_on_a_standard_queue_a_changed_delay_reaches_later_messages_alone(
    window: Window, restarts: bool
) -> None:
    sqs = JournaledSqs(window)
    sqs.create("jobs", {"DelaySeconds": 900})
    for number in range(COUNT):
        sqs.send("jobs", str(number))
    sqs.set_attributes("jobs", DelaySeconds=0)
    sqs.send("jobs", "99")
    if restarts:
        sqs.restart()
    assert sqs.counts("jobs") == (1, 0, COUNT)
    assert receive_all(sqs, "jobs") == ["99"]


@WINDOWS
@RESTARTS
@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_retention_reaches_every_message(window: Window, restarts: bool, suffix: str) -> None:
    sqs = JournaledSqs(window)
    sqs.create(f"jobs{suffix}", {"MessageRetentionPeriod": 60})
    for number in range(COUNT):
        sqs.send(f"jobs{suffix}", str(number), group=str(number))
    sqs.wait(50)
    sqs.set_attributes(f"jobs{suffix}", MessageRetentionPeriod=100)
    if restarts:
        sqs.restart()
    sqs.wait(49)
    assert receive_all(sqs, f"jobs{suffix}") == [str(number) for number in range(COUNT)]
    sqs.set_attributes(f"jobs{suffix}", MessageRetentionPeriod=60)
    assert sqs.counts(f"jobs{suffix}") == (0, 0, 0)


def test_a_visibility_timeout_reaches_later_receives_alone() -> None:
    sqs = Sqs()
    sqs.create("jobs", {"VisibilityTimeout": 10})
    sqs.send("jobs", "a")
    sqs.receive("jobs")
    sqs.set_attributes("jobs", VisibilityTimeout=100)
    sqs.wait(10)
    assert sqs.bodies("jobs") == ["a"]
    sqs.wait(99)
    assert sqs.bodies("jobs") == []


def test_a_redrive_policy_reaches_messages_that_were_received_before() -> None:
    sqs = Sqs()
    sqs.create("jobs")
    sqs.create("dead")
    sqs.send("jobs", "a")
    for _ in range(2):
        assert sqs.bodies("jobs", timeout_s=0) == ["a"]
    policy = {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 2}
    sqs.set_attributes("jobs", RedrivePolicy=json.dumps(policy))
    assert sqs.bodies("jobs") == []
    assert sqs.bodies("dead") == ["a"]


def test_what_expires_before_its_delay_ends_makes_no_count_negative() -> None:
    sqs = JournaledSqs()
    sqs.create("jobs.fifo", {"DelaySeconds": 900, "MessageRetentionPeriod": 60})
    sqs.send("jobs.fifo", "a", group="g")
    sqs.wait(60)
    sqs.send("jobs.fifo", "b", group="g")
    sqs.restart()
    assert sqs.counts("jobs.fifo") == (0, 0, 1)
