"""A message received maxReceiveCount times goes to the dead-letter queue at the next receive."""

from __future__ import annotations

import json

import pytest

from forebay.broker.core.engine import Caller
from forebay.broker.core.window import Window
from forebay.protocol.actions import (
    CreateQueueRequest,
    DeleteQueueRequest,
    Message,
    SetQueueAttributesRequest,
    StartMessageMoveTaskRequest,
)
from forebay.protocol.errors import SqsError
from tests.core.harness import ENDPOINT_URL, JournaledSqs, Sqs, arn_of, url_of


def with_dead_letter_queue(suffix: str, max_receive_count: object = 2) -> Sqs:
    sqs = Sqs()
    sqs.create(f"dead{suffix}")
    policy = {"deadLetterTargetArn": arn_of(f"dead{suffix}"), "maxReceiveCount": max_receive_count}
    sqs.create(f"jobs{suffix}", {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": 1})
    return sqs


def receive_until_dead(sqs: Sqs, queue: str) -> None:
    for _ in range(2):
        assert sqs.bodies(queue) != []
        sqs.wait(1)
    assert sqs.bodies(queue) == []


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_the_receive_after_the_last_allowed_one_moves_the_message(suffix: str) -> None:
    sqs = with_dead_letter_queue(suffix)
    sent = sqs.send(f"jobs{suffix}", "poison", group="g" if suffix else None)
    receive_until_dead(sqs, f"jobs{suffix}")
    assert sqs.counts(f"jobs{suffix}") == (0, 0, 0)
    [dead] = sqs.receive(f"dead{suffix}")
    assert dead.message_id == sent.message_id
    assert dead.attributes is not None
    assert dead.attributes["ApproximateReceiveCount"] == "3"
    assert dead.attributes["DeadLetterQueueSourceArn"] == arn_of(f"jobs{suffix}")


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("window", [Window(), Window(messages=2, page_messages=1)])
@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_in_a_chain_a_message_is_received_from_every_queue_before_it_moves_on(
    suffix: str, window: Window, restarts: bool
) -> None:
    sqs = JournaledSqs(window)
    names = [f"{name}{suffix}" for name in ("jobs", "dead", "deader")]
    sqs.create(names[2])
    for name, target in ((names[1], names[2]), (names[0], names[1])):
        policy = {"deadLetterTargetArn": arn_of(target), "maxReceiveCount": 1}
        sqs.create(name, {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": 1})
    for body in "abcd":
        sqs.send(names[0], body, group=body if suffix else None)
    for count, name in enumerate(names, 1):
        received: list[Message] = []
        while len(received) < 4:
            received += sqs.receive(name)
            if restarts:
                sqs.restart()
        assert sorted(message.body for message in received) == ["a", "b", "c", "d"]
        for message in received:
            assert message.attributes is not None
            assert message.attributes["ApproximateReceiveCount"] == str(count)
        sqs.wait(1)
        if name != names[2]:
            while sum(sqs.counts(name)):
                assert sqs.receive(name) == []


def test_a_redriven_message_is_received_as_often_as_a_new_one() -> None:
    sqs = with_dead_letter_queue("")
    sqs.send("jobs", "poison")
    receive_until_dead(sqs, "jobs")
    sqs.call(StartMessageMoveTaskRequest(source_arn=arn_of("dead")))
    sqs.engine.tick(sqs.now_ms)
    receive_until_dead(sqs, "jobs")
    assert sqs.counts("dead") == (1, 0, 0)


def test_a_fifo_dead_letter_has_its_message_id_as_deduplication_id() -> None:
    sqs = with_dead_letter_queue(".fifo")
    for round_ in range(2):
        sqs.send("jobs.fifo", "poison", group="g", deduplication_id="same")
        receive_until_dead(sqs, "jobs.fifo")
        sqs.wait(300 * (1 - round_))
    dead = sqs.receive("dead.fifo")
    assert [message.body for message in dead] == ["poison", "poison"]
    for message in dead:
        assert message.attributes is not None
        assert message.attributes["MessageDeduplicationId"] == message.message_id


def test_the_messages_behind_a_dead_one_are_delivered_by_the_same_receive() -> None:
    sqs = with_dead_letter_queue(".fifo")
    sqs.send("jobs.fifo", "poison", group="g")
    for _ in range(2):
        sqs.receive("jobs.fifo")
        sqs.wait(1)
    sqs.send("jobs.fifo", "good", group="g")
    assert sqs.bodies("jobs.fifo") == ["good"]


def test_a_standard_message_keeps_its_first_enqueue_time() -> None:
    sqs = with_dead_letter_queue("")
    sqs.call(
        SetQueueAttributesRequest(
            queue_url=url_of("dead"), attributes={"MessageRetentionPeriod": "60"}
        )
    )
    sqs.send("jobs", "poison")
    sqs.wait(50)
    receive_until_dead(sqs, "jobs")
    assert sqs.counts("dead") == (1, 0, 0)
    sqs.wait(8)
    assert sqs.counts("dead") == (0, 0, 0)


def test_a_fifo_message_starts_its_retention_anew() -> None:
    sqs = with_dead_letter_queue(".fifo")
    sqs.call(
        SetQueueAttributesRequest(
            queue_url=url_of("dead.fifo"), attributes={"MessageRetentionPeriod": "60"}
        )
    )
    sqs.send("jobs.fifo", "poison", group="g")
    sqs.wait(50)
    receive_until_dead(sqs, "jobs.fifo")
    sqs.wait(59)
    assert sqs.counts("dead.fifo") == (1, 0, 0)
    sqs.wait(1)
    assert sqs.counts("dead.fifo") == (0, 0, 0)


def test_without_its_dead_letter_queue_a_message_stays() -> None:
    sqs = with_dead_letter_queue("")
    sqs.send("jobs", "poison")
    sqs.call(DeleteQueueRequest(queue_url=url_of("dead")))
    for _ in range(5):
        assert sqs.bodies("jobs") == ["poison"]
        sqs.wait(1)


def test_a_receive_count_in_quotes_is_stored_as_a_number() -> None:
    sqs = with_dead_letter_queue("", max_receive_count="1")
    stored = json.loads(sqs.attributes("jobs", "RedrivePolicy")["RedrivePolicy"])
    assert stored == {"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 1}


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ({"deadLetterTargetArn": arn_of("nowhere"), "maxReceiveCount": 2}, "does not exist"),
        ({"deadLetterTargetArn": arn_of("other.fifo"), "maxReceiveCount": 2}, "same type"),
        ({"deadLetterTargetArn": arn_of("closed"), "maxReceiveCount": 2}, "does not allow"),
        ({"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 0}, "from 1 to 1000"),
        ({"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 1001}, "from 1 to 1000"),
        ({"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": "x"}, "maxReceiveCount"),
        ({"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": "1_0"}, "maxReceiveCount"),
        ({"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": "+5"}, "maxReceiveCount"),
        ({"deadLetterTargetArn": "dead", "maxReceiveCount": 2}, "not the ARN of a queue"),
        (
            {
                "deadLetterTargetArn": "arn:aws:sqs:us-east-1:111111111111:theirs",
                "maxReceiveCount": 2,
            },
            "in the account of the source",
        ),
        ({"maxReceiveCount": 2}, "mandatory attributes"),
        ({"deadLetterTargetArn": arn_of("dead")}, "mandatory attributes"),
        ("not a map", "mandatory attributes"),
    ],
)
def test_redrive_policies_that_are_refused(policy: object, text: str) -> None:
    sqs = Sqs()
    sqs.create("dead")
    sqs.create("other.fifo")
    theirs = Caller("111111111111", "us-east-1", ENDPOINT_URL)
    sqs.engine.apply(CreateQueueRequest(queue_name="theirs"), theirs, sqs.now_ms)
    sqs.create("closed", {"RedriveAllowPolicy": json.dumps({"redrivePermission": "denyAll"})})
    with pytest.raises(SqsError, match=text):
        sqs.create("jobs", {"RedrivePolicy": json.dumps(policy)})


@pytest.mark.parametrize(
    ("policy", "accepted"),
    [
        ({"redrivePermission": "allowAll"}, True),
        ({"redrivePermission": "denyAll"}, True),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [arn_of("jobs")]}, True),
        ({"redrivePermission": "byQueue"}, False),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [arn_of("q")] * 11}, False),
        ({"redrivePermission": "byQueue", "sourceQueueArns": ["q"]}, False),
        ({"redrivePermission": "allowAll", "sourceQueueArns": [arn_of("jobs")]}, False),
        ({"redrivePermission": "sometimes"}, False),
    ],
)
def test_redrive_allow_policies(policy: object, accepted: bool) -> None:
    sqs = Sqs()
    if accepted:
        sqs.create("dead", {"RedriveAllowPolicy": json.dumps(policy)})
    else:
        with pytest.raises(SqsError, match="RedriveAllowPolicy is invalid"):
            sqs.create("dead", {"RedriveAllowPolicy": json.dumps(policy)})
