"""Message move tasks: pace, progress, cancelling, and where each message goes."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode

import pytest

from forebay.broker.core.move_tasks import _allowance
from forebay.broker.core.window import Window
from forebay.protocol import errors
from forebay.protocol.actions import (
    CancelMessageMoveTaskRequest,
    CancelMessageMoveTaskResult,
    DeleteQueueRequest,
    ListMessageMoveTasksRequest,
    ListMessageMoveTasksResult,
    ListMessageMoveTasksResultEntry,
    StartMessageMoveTaskRequest,
    StartMessageMoveTaskResult,
)
from forebay.protocol.errors import Fault, SqsError
from forebay.protocol.identifiers import TaskHandle, decode_task_handle, encode_task_handle
from tests.core.harness import JournaledSqs, Sqs, arn_of, url_of


def with_dead_letters(count: int, suffix: str = "", sqs: Sqs | None = None) -> Sqs:
    """Messages m1, m2… in dead, each received once from jobs."""
    sqs = sqs or Sqs()
    sqs.create(f"dead{suffix}")
    sqs.create(f"other{suffix}")
    policy = {"deadLetterTargetArn": arn_of(f"dead{suffix}"), "maxReceiveCount": 1}
    sqs.create(f"jobs{suffix}", {"RedrivePolicy": json.dumps(policy)})
    for index in range(count):
        sqs.send(f"jobs{suffix}", f"m{index + 1}", group="g" if suffix else None)
    while sqs.receive(f"jobs{suffix}", timeout_s=0):
        pass
    assert sqs.counts(f"dead{suffix}") == (count, 0, 0)
    return sqs


def start(sqs: Sqs, source: str = "dead", to: str | None = None, rate: int | None = None) -> str:
    result = sqs.call(
        StartMessageMoveTaskRequest(
            source_arn=arn_of(source),
            destination_arn=arn_of(to) if to else None,
            max_number_of_messages_per_second=rate,
        )
    )
    assert isinstance(result, StartMessageMoveTaskResult)
    return result.task_handle


def run(sqs: Sqs, seconds: float) -> None:
    """Let time pass as a driver would: a tick whenever one is due."""
    end_ms = sqs.now_ms + round(seconds * 1000)
    while (due_ms := sqs.engine.next_due()) <= end_ms:
        sqs.engine.tick(due_ms)
        if isinstance(sqs, JournaledSqs):
            sqs.bring_all()
    sqs.now_ms = end_ms


def tasks(sqs: Sqs, source: str = "dead", most: int = 10) -> list[ListMessageMoveTasksResultEntry]:
    result = sqs.call(ListMessageMoveTasksRequest(source_arn=arn_of(source), max_results=most))
    assert isinstance(result, ListMessageMoveTasksResult)
    return result.results or []


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_each_message_goes_back_where_it_came_from_as_a_new_one(suffix: str) -> None:
    sqs = with_dead_letters(3, suffix)
    start(sqs, f"dead{suffix}")
    run(sqs, 1)
    messages = sqs.receive(f"jobs{suffix}")
    assert [message.body for message in messages] == ["m1", "m2", "m3"]
    for message in messages:
        assert message.attributes is not None
        assert message.attributes["ApproximateReceiveCount"] == "1"
        assert "DeadLetterQueueSourceArn" not in message.attributes
    [task] = tasks(sqs, f"dead{suffix}")
    assert task.status == "COMPLETED"
    assert task.approximate_number_of_messages_moved == 3
    assert task.approximate_number_of_messages_to_move == 3
    assert task.destination_arn is None
    assert task.task_handle is None


def test_a_destination_takes_them_all() -> None:
    sqs = with_dead_letters(3)
    start(sqs, to="other")
    run(sqs, 1)
    assert sqs.counts("other") == (3, 0, 0)
    assert tasks(sqs)[0].destination_arn == arn_of("other")


def test_the_task_keeps_to_its_rate_and_shows_its_progress() -> None:
    sqs = with_dead_letters(100)
    start(sqs, rate=20)
    run(sqs, 2)
    [task] = tasks(sqs)
    assert task.status == "RUNNING"
    assert task.task_handle is not None
    moved = task.approximate_number_of_messages_moved
    assert moved is not None
    assert 38 <= moved <= 42
    assert sqs.counts("jobs") == (moved, 0, 0)
    run(sqs, 3.1)
    assert tasks(sqs)[0].status == "COMPLETED"
    assert sqs.counts("jobs") == (100, 0, 0)


@pytest.mark.parametrize(
    ("rate", "elapsed_ms", "moved", "allowance"),
    [
        (50, 0, 0, 5),
        (50, 100, 5, 5),
        (50, 1000, 50, 5),
        (50, 1000, 55, 0),
        (1, 0, 0, 0),
        (1, 900, 0, 1),
        (None, 0, 0, 50),
        (500, 3_600_000, 0, 100),
    ],
)
def test_the_pace(rate: int | None, elapsed_ms: int, moved: int, allowance: int) -> None:
    sqs = with_dead_letters(1)
    start(sqs, rate=rate)
    [task] = sqs.engine.take_changes().move_tasks.values()
    assert task is not None
    task.moved = moved
    assert _allowance(task, task.begun_ms + elapsed_ms) == allowance


def test_a_cancelled_task_moves_no_more() -> None:
    sqs = with_dead_letters(100)
    handle = start(sqs, rate=10)
    run(sqs, 1)
    result = sqs.call(CancelMessageMoveTaskRequest(task_handle=handle))
    assert isinstance(result, CancelMessageMoveTaskResult)
    moved = result.approximate_number_of_messages_moved
    run(sqs, 10)
    assert sqs.counts("jobs") == (moved, 0, 0)
    assert tasks(sqs)[0].status == "CANCELLED"
    with pytest.raises(SqsError, match="Only active tasks"):
        sqs.call(CancelMessageMoveTaskRequest(task_handle=handle))


def test_the_handle_says_task_and_source() -> None:
    handle = json.loads(urlsafe_b64decode(start(with_dead_letters(1))))
    assert handle.keys() == {"taskId", "sourceArn"}
    assert handle["sourceArn"] == arn_of("dead")


def test_a_handle_of_another_source_cancels_nothing() -> None:
    sqs = with_dead_letters(1)
    handle = decode_task_handle(start(sqs))
    assert handle is not None
    forged = encode_task_handle(TaskHandle(handle.task_id, arn_of("other")))
    with pytest.raises(SqsError, match="Task does not exist"):
        sqs.call(CancelMessageMoveTaskRequest(task_handle=forged))


def test_a_message_without_a_source_fails_the_task() -> None:
    sqs = with_dead_letters(0)
    sqs.send("dead", "sent here directly")
    start(sqs)
    run(sqs, 1)
    [task] = tasks(sqs)
    assert task.status == "FAILED"
    assert task.failure_reason == "CouldNotDetermineMessageSource"
    assert sqs.counts("dead") == (1, 0, 0)


def test_a_deleted_destination_fails_the_task() -> None:
    sqs = with_dead_letters(100)
    start(sqs, to="other", rate=10)
    run(sqs, 1)
    sqs.call(DeleteQueueRequest(queue_url=url_of("other")))
    run(sqs, 1)
    assert tasks(sqs)[0].status == "FAILED"
    assert sqs.counts("dead")[0] >= 85


def test_one_task_at_a_time_and_the_latest_is_listed_first() -> None:
    sqs = with_dead_letters(100)
    handle = start(sqs, rate=1)
    with pytest.raises(SqsError, match="already a task running"):
        start(sqs)
    sqs.call(CancelMessageMoveTaskRequest(task_handle=handle))
    start(sqs)
    assert [task.status for task in tasks(sqs)] == ["RUNNING", "CANCELLED"]
    assert [task.status for task in tasks(sqs, most=1)] == ["RUNNING"]


def test_only_as_many_tasks_are_kept_as_can_be_listed() -> None:
    sqs = with_dead_letters(1)
    for _ in range(12):
        sqs.call(CancelMessageMoveTaskRequest(task_handle=start(sqs)))
    assert len(tasks(sqs)) == 10


@pytest.mark.parametrize("window", [Window(), Window(messages=4, page_messages=3)])
def test_a_restart_goes_on_with_the_task(window: Window) -> None:
    sqs = JournaledSqs(window)
    with_dead_letters(100, sqs=sqs)
    start(sqs, rate=10)
    run(sqs, 2)
    before = sqs.counts("jobs")
    sqs.restart()
    assert sqs.counts("jobs") == before
    run(sqs, 20)
    assert sqs.counts("jobs") == (100, 0, 0)
    assert tasks(sqs)[0].status == "COMPLETED"


@pytest.mark.parametrize(
    ("source", "to", "rate", "fault"),
    [
        ("nowhere", None, None, errors.RESOURCE_NOT_FOUND),
        ("dead", "nowhere", None, errors.RESOURCE_NOT_FOUND),
        ("jobs", None, None, errors.INVALID_PARAMETER_VALUE),
        ("dead", "dead", None, errors.INVALID_PARAMETER_VALUE),
        ("dead", "other.fifo", None, errors.INVALID_PARAMETER_VALUE),
        ("dead", None, 0, errors.INVALID_PARAMETER_VALUE),
        ("dead", None, 501, errors.INVALID_PARAMETER_VALUE),
    ],
)
def test_tasks_that_are_refused(
    source: str, to: str | None, rate: int | None, fault: Fault
) -> None:
    sqs = with_dead_letters(1)
    sqs.create("other.fifo")
    with pytest.raises(SqsError) as refusal:
        start(sqs, source, to, rate)
    assert refusal.value.fault is fault


@pytest.mark.parametrize("handle", ["", "garbage", "e30=", "é"])
def test_handles_that_are_refused(handle: str) -> None:
    with pytest.raises(SqsError) as refusal:
        with_dead_letters(0).call(CancelMessageMoveTaskRequest(task_handle=handle))
    assert refusal.value.fault is errors.INVALID_PARAMETER_VALUE
