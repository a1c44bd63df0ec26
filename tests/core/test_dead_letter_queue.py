"""A message received maxReceiveCount times goes to the dead-letter queue at the next receive."""

from __future__ import annotations

import json

import pytest

from forebay.broker.core.engine import Wait
from forebay.broker.core.window import Window
from forebay.protocol.actions import (
    DeleteQueueRequest,
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SetQueueAttributesRequest,
    StartMessageMoveTaskRequest,
)
from forebay.protocol.errors import SqsError
from tests.core.harness import JournaledSqs, Sqs, arn_of, url_of


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
    "policy",
    [
        {"redrivePermission": "allowAll"},
        {"redrivePermission": "denyAll"},
        {"redrivePermission": "byQueue", "sourceQueueArns": [arn_of("jobs")] * 10},
    ],
)
def test_a_redrive_allow_policy_is_answered_in_sqs_s_own_form(policy: dict[str, object]) -> None:
    sqs = Sqs()
    backwards = dict(reversed(policy.items()))
    sqs.create("dead", {"RedriveAllowPolicy": json.dumps(backwards, indent=4)})
    answered = sqs.attributes("dead", "RedriveAllowPolicy")["RedriveAllowPolicy"]
    assert answered == json.dumps(policy, separators=(",", ":"))


@pytest.mark.parametrize(
    ("permission", "refused"), [("allowAll", False), ("byQueue", False), ("denyAll", True)]
)
def test_a_queue_says_whose_dead_letters_it_takes(permission: str, refused: bool) -> None:
    sqs = Sqs()
    sources = {"sourceQueueArns": [arn_of("jobs")]} if permission == "byQueue" else {}
    policy = {"redrivePermission": permission, **sources}
    sqs.create("dead", {"RedriveAllowPolicy": json.dumps(policy)})
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn_of("dead"),
                                            "maxReceiveCount": 1})}  # fmt: skip
    if not refused:
        sqs.create("jobs", redrive)
    if permission != "allowAll":
        with pytest.raises(SqsError, match="does not allow"):
            sqs.create("others", redrive)


def test_many_are_dead_lettered_a_few_at_a_time_and_nobody_is_told_that_there_are_none() -> None:
    """A commit with all of them would not fit into what is left of a full disk."""
    sqs = Sqs()
    sqs.create("dead")
    policy = f'{{"deadLetterTargetArn":"{arn_of("dead")}","maxReceiveCount":1}}'
    sqs.create("jobs", {"RedrivePolicy": policy, "VisibilityTimeout": 10})
    body = "x" * 100_000
    for _ in range(10):
        sqs.send("jobs", body)
    assert len(sqs.receive("jobs")) == 10
    sqs.send("jobs", "good")
    sqs.wait(10)
    request = ReceiveMessageRequest(queue_url=url_of("jobs"))
    sqs.engine.take_changes()
    moved = []
    while isinstance(answer := sqs.call(request), Wait):
        moved.append(len(sqs.engine.take_changes().messages))
        assert sqs.engine.next_due() <= sqs.now_ms + 1
        sqs.wait(0.001)
        sqs.engine.tick(sqs.now_ms)
        assert 2 in sqs.engine.take_readable()
    assert moved == [3, 3, 3]
    assert isinstance(answer, ReceiveMessageResult)
    assert [message.body for message in answer.messages or []] == ["good"]
    assert sqs.counts("dead")[0] == 10
