"""A queue that is named and missing is created, where that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from forebay.broker.bootstrap import DeclaredQueue, Deed, Outcome
from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.engine import Caller
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.polls import Answer
from forebay.broker.running import running_broker
from forebay.protocol.actions import (
    AnyRequest,
    CreateQueueRequest,
    DeleteQueueRequest,
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListQueueTagsRequest,
    PurgeQueueRequest,
    ReceiveMessageRequest,
    SendMessageRequest,
    StartMessageMoveTaskRequest,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from tests.runtime.virtual_time import run

URL = "http://here/000000000000/orders.fifo"


def on_a_broker(
    story: Callable[[Broker], Awaitable[None]],
    *,
    auto_create: bool = True,
    recreate_interval_ms: int = 0,
) -> None:
    async def play() -> None:
        broker = Broker(
            MemoryJournal(),
            executor=InlineExecutor(),
            auto_create=auto_create,
            recreate_interval_ms=recreate_interval_ms,
        )
        await story(broker)
        await broker.close()

    run(play())


def queues(broker: Broker) -> list[tuple[str, str, bool]]:
    return [(view.region, view.name, view.fifo) for view in broker.view_queues()]


async def refused(broker: Broker, request: AnyRequest) -> SqsError:
    with pytest.raises(SqsError) as refusal:
        await broker.call(request)
    return refusal.value


@pytest.mark.parametrize(
    "request_",
    [
        SendMessageRequest(
            queue_url=URL, message_body="a", message_group_id="g", message_deduplication_id="d"
        ),
        ReceiveMessageRequest(queue_url=URL),
        GetQueueUrlRequest(queue_name="orders.fifo"),
        GetQueueAttributesRequest(queue_url=URL),
        PurgeQueueRequest(queue_url=URL),
        ListQueueTagsRequest(queue_url="orders.fifo"),
    ],
)
def test_any_action_that_names_a_queue_creates_it(request_: AnyRequest) -> None:
    async def story(broker: Broker) -> None:
        await broker.call(request_)
        assert queues(broker) == [("us-east-1", "orders.fifo", True)]

    on_a_broker(story)


def test_a_queue_belongs_to_the_region_and_account_that_ask() -> None:
    async def story(broker: Broker) -> None:
        caller = Caller("111111111111", "eu-west-1", "http://here")
        await broker.call(SendMessageRequest(queue_url="jobs", message_body="a"), caller)
        [view] = broker.view_queues()
        assert (view.account_id, view.region, view.visible) == ("111111111111", "eu-west-1", 1)

    on_a_broker(story)


def test_it_is_off_unless_asked_for() -> None:
    async def story(broker: Broker) -> None:
        error = await refused(broker, ReceiveMessageRequest(queue_url=URL))
        assert error.fault is QUEUE_DOES_NOT_EXIST
        assert queues(broker) == []

    on_a_broker(story, auto_create=False)


@pytest.mark.parametrize(
    "request_",
    [
        DeleteQueueRequest(queue_url=URL),
        StartMessageMoveTaskRequest(source_arn="arn:aws:sqs:us-east-1:000000000000:dead"),
        SendMessageRequest(queue_url="http://here/000000000000/no!name", message_body="a"),
        CreateQueueRequest(
            queue_name="jobs",
            attributes={
                "RedrivePolicy": '{"maxReceiveCount": 1, "deadLetterTargetArn":'
                ' "arn:aws:sqs:us-east-1:000000000000:dead"}'
            },
        ),
    ],
)
def test_what_creates_no_queue(request_: AnyRequest) -> None:
    async def story(broker: Broker) -> None:
        await refused(broker, request_)
        assert queues(broker) == []

    on_a_broker(story)


def test_a_name_stays_taken_after_a_delete_as_ever() -> None:
    async def story(broker: Broker) -> None:
        await broker.call(GetQueueUrlRequest(queue_name="jobs"))
        await broker.call(DeleteQueueRequest(queue_url="jobs"))
        error = await refused(broker, ReceiveMessageRequest(queue_url="jobs"))
        assert error.fault is QUEUE_DOES_NOT_EXIST

    on_a_broker(story, recreate_interval_ms=60_000)


def test_a_waiting_poll_does_not_bring_a_deleted_queue_back() -> None:
    async def story(broker: Broker) -> None:
        await broker.call(GetQueueUrlRequest(queue_name="jobs"))
        answers: list[Answer] = []
        poll = ReceiveMessageRequest(queue_url="jobs", wait_time_seconds=20)
        broker.submit(poll, Caller("000000000000", "us-east-1", "http://here"), answers.append)
        await broker.call(DeleteQueueRequest(queue_url="jobs"))
        await broker.call(GetQueueUrlRequest(queue_name="other"))
        assert [getattr(answer, "fault", None) for answer in answers] == [QUEUE_DOES_NOT_EXIST]
        assert [name for _, name, _ in queues(broker)] == ["other"]

    on_a_broker(story)


def test_a_declared_queue_is_created_as_it_was_declared() -> None:
    done: list[Outcome] = []

    async def serve() -> None:
        declared = [DeclaredQueue("orders", {"VisibilityTimeout": "60"})]
        async with running_broker(
            None, auto_create=True, declared=declared, declared_done=done.extend
        ):
            pass

    asyncio.run(serve())
    assert [(outcome.name, outcome.deed) for outcome in done] == [("orders", Deed.CREATED)]
