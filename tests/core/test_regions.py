"""Queues of different regions and accounts are different queues."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from forebay.broker.core.engine import Caller, Engine, Wait
from forebay.broker.journal.memory import MemoryJournal
from forebay.protocol import errors
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    CreateQueueRequest,
    DeleteQueueRequest,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    GetQueueUrlRequest,
    ListMessageMoveTasksRequest,
    ListQueuesRequest,
    ListQueuesResult,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
    SetQueueAttributesRequest,
    StartMessageMoveTaskRequest,
)
from forebay.protocol.errors import SqsError

HERE = Caller("000000000000", "us-east-1", "http://sqs.test")
THERE = replace(HERE, region="eu-west-1")
JOBS = "http://sqs.test/000000000000/jobs"


def call(engine: Engine, caller: Caller, request: AnyRequest) -> AnyResult:
    result = engine.apply(request, caller, 1_000)
    assert not isinstance(result, Wait)
    return result


def refusal(engine: Engine, caller: Caller, request: AnyRequest) -> SqsError:
    with pytest.raises(SqsError) as raised:
        engine.apply(request, caller, 1_000)
    return raised.value


def new_engine() -> Engine:
    return Engine(entropy=random.Random(1).randbytes)


def arn_of(engine: Engine, caller: Caller, queue_url: str) -> str:
    request = GetQueueAttributesRequest(queue_url=queue_url, attribute_names=["QueueArn"])
    result = call(engine, caller, request)
    assert isinstance(result, GetQueueAttributesResult)
    assert result.attributes is not None
    return result.attributes["QueueArn"]


def bodies(engine: Engine, caller: Caller) -> list[str]:
    result = call(engine, caller, ReceiveMessageRequest(queue_url=JOBS))
    assert isinstance(result, ReceiveMessageResult)
    return [message.body for message in result.messages or []]


@pytest.fixture
def engine() -> Engine:
    """With a queue `jobs` in each of two regions."""
    engine = new_engine()
    for caller in (HERE, THERE):
        call(engine, caller, CreateQueueRequest(queue_name="jobs"))
    return engine


def test_the_same_url_means_another_queue_in_another_region(engine: Engine) -> None:
    for caller in (HERE, THERE):
        message = SendMessageRequest(queue_url=JOBS, message_body=caller.region)
        call(engine, caller, message)
    assert bodies(engine, HERE) == ["us-east-1"]
    assert bodies(engine, THERE) == ["eu-west-1"]
    assert arn_of(engine, HERE, JOBS) == "arn:aws:sqs:us-east-1:000000000000:jobs"
    assert arn_of(engine, THERE, "jobs") == "arn:aws:sqs:eu-west-1:000000000000:jobs"


def test_a_queue_is_deleted_and_created_again_in_its_own_region_alone(engine: Engine) -> None:
    call(engine, THERE, DeleteQueueRequest(queue_url=JOBS))
    assert arn_of(engine, HERE, JOBS) == "arn:aws:sqs:us-east-1:000000000000:jobs"
    again = CreateQueueRequest(queue_name="jobs")
    assert refusal(engine, THERE, again).fault is errors.QUEUE_DELETED_RECENTLY
    call(engine, HERE, again)


def test_only_the_queues_of_the_region_and_the_account_are_listed(engine: Engine) -> None:
    call(engine, THERE, CreateQueueRequest(queue_name="theirs"))
    other_account = replace(HERE, account_id="111111111111")
    call(engine, other_account, CreateQueueRequest(queue_name="foreign"))
    listed = call(engine, HERE, ListQueuesRequest())
    assert listed == ListQueuesResult(queue_urls=[JOBS])
    listed = call(engine, replace(THERE, account_id="111111111111"), ListQueuesRequest())
    assert listed == ListQueuesResult()


def test_a_queue_of_another_region_does_not_exist_and_the_log_may_say_where_it_does() -> None:
    engine = new_engine()
    call(engine, THERE, CreateQueueRequest(queue_name="jobs"))
    for request in (
        SendMessageRequest(queue_url=JOBS, message_body="x"),
        GetQueueUrlRequest(queue_name="jobs"),
    ):
        error = refusal(engine, HERE, request)
        assert error.fault is errors.QUEUE_DOES_NOT_EXIST
        assert error.message == "The specified queue does not exist."
        assert error.log_detail == "It exists in eu-west-1; the request is for us-east-1."
    nowhere = GetQueueUrlRequest(queue_name="nowhere")
    assert refusal(engine, HERE, nowhere).log_detail is None


def test_a_dead_letter_queue_of_another_region_is_refused(engine: Engine) -> None:
    call(engine, THERE, CreateQueueRequest(queue_name="dead"))
    policy = '{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:dead","maxReceiveCount":1}'
    attributes = {"RedrivePolicy": policy}
    request = SetQueueAttributesRequest(queue_url=JOBS, attributes=attributes)
    error = refusal(engine, HERE, request)
    assert error.fault is errors.INVALID_PARAMETER_VALUE
    assert error.message.endswith(
        "Reason: Dead-letter target must be in same region as the source."
    )
    call(engine, THERE, request)


def test_move_tasks_know_the_queues_of_their_region_alone(engine: Engine) -> None:
    arn = arn_of(engine, THERE, JOBS)
    for request in (
        StartMessageMoveTaskRequest(source_arn=arn),
        ListMessageMoveTasksRequest(source_arn=arn),
    ):
        assert refusal(engine, HERE, request).fault is errors.RESOURCE_NOT_FOUND
    call(engine, THERE, ListMessageMoveTasksRequest(source_arn=arn))


def test_a_restart_keeps_the_queues_apart(engine: Engine) -> None:
    journal = MemoryJournal()
    for caller in (HERE, THERE):
        call(engine, caller, SendMessageRequest(queue_url=JOBS, message_body=caller.region))
    journal.commit(engine.take_changes())
    again = Engine(entropy=random.Random(1).randbytes, snapshot=journal.load())
    for request in again.take_pages():
        again.page_in(request, journal.page(request), 1_000)
    assert bodies(again, HERE) == ["us-east-1"]
    assert bodies(again, THERE) == ["eu-west-1"]


def test_the_views_tell_the_region(engine: Engine) -> None:
    views = engine.view_queues(1_000)
    assert [(view.region, view.name) for view in views] == [
        ("eu-west-1", "jobs"),
        ("us-east-1", "jobs"),
    ]
