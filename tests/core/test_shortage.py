"""What is refused, and what goes on, while the broker is short of room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from forebay.broker.core.engine import QueueView
from forebay.protocol.actions import (
    CreateQueueRequest,
    PurgeQueueRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SetQueueAttributesRequest,
    StartMessageMoveTaskRequest,
)
from forebay.protocol.errors import SqsError
from tests.core.harness import Sqs, arn_of, url_of

REASON = "There is no room."


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("dead")
    policy = f'{{"deadLetterTargetArn":"{arn_of("dead")}","maxReceiveCount":1}}'
    sqs.create("jobs", {"RedrivePolicy": policy, "VisibilityTimeout": 10})
    for number in range(3):
        sqs.send("jobs", f"m{number}")
    return sqs


def view(sqs: Sqs, name: str) -> QueueView:
    [found] = [queue for queue in sqs.engine.view_queues(sqs.now_ms) if queue.name == name]
    return found


@contextmanager
def refusal() -> Iterator[None]:
    """What is done in the block is refused so that SDKs do it again later."""
    with pytest.raises(SqsError) as refused:
        yield
    assert refused.value.code == "ServiceUnavailable"
    assert refused.value.message == REASON
    assert (refused.value.fault.http_status, refused.value.fault.sender) == (503, False)


def test_sends_and_new_queues_are_refused_with_the_reason_and_taken_afterwards(sqs: Sqs) -> None:
    entries = [SendMessageBatchRequestEntry(id=name, message_body=name) for name in "ab"]
    batch = SendMessageBatchRequest(queue_url=url_of("jobs"), entries=entries)
    sqs.engine.shortage = REASON
    with refusal():
        sqs.send("jobs", "one too many")
    with refusal():
        sqs.call(batch)
    with refusal():
        sqs.create("others")
    assert view(sqs, "jobs").totals.refused == 3
    sqs.engine.shortage = None
    sqs.send("jobs", "welcome")
    sqs.call(batch)
    sqs.create("others")
    assert view(sqs, "jobs").totals.sent == 6


def test_what_empties_the_queues_goes_on(sqs: Sqs) -> None:
    sqs.engine.shortage = REASON
    first, second = sqs.receive("jobs", 2)
    sqs.delete("jobs", first)
    sqs.change_visibility("jobs", second, 0)
    assert sqs.bodies("jobs") == ["m2"]
    assert sqs.bodies("dead") == [second.body]
    sqs.call(PurgeQueueRequest(queue_url=url_of("jobs")))
    assert view(sqs, "jobs").in_flight == 0


def test_what_consumers_do_when_they_start_goes_on(sqs: Sqs) -> None:
    sqs.engine.shortage = REASON
    sqs.call(CreateQueueRequest(queue_name="dead"))
    sqs.call(SetQueueAttributesRequest(url_of("jobs"), {"VisibilityTimeout": "60"}))


def test_a_move_task_rests_until_there_is_room(sqs: Sqs) -> None:
    sqs.receive("jobs")
    sqs.wait(10)
    sqs.receive("jobs")
    assert view(sqs, "dead").visible == 3
    sqs.engine.shortage = REASON
    sqs.call(StartMessageMoveTaskRequest(source_arn=arn_of("dead")))
    for _ in range(5):
        sqs.wait(1)
        sqs.engine.tick(sqs.now_ms)
    assert view(sqs, "dead").visible == 3
    sqs.engine.shortage = None
    sqs.wait(1)
    sqs.engine.tick(sqs.now_ms)
    assert (view(sqs, "dead").visible, view(sqs, "jobs").visible) == (0, 3)
