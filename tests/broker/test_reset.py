"""A reset leaves nothing: no queue, no message, no task and no name that is still taken."""

from __future__ import annotations

from pathlib import Path

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.engine import Caller
from forebay.broker.journal.sqlite import SqliteJournal
from forebay.broker.polls import Answer
from forebay.protocol.actions import (
    CreateQueueRequest,
    DeleteQueueRequest,
    ReceiveMessageRequest,
    SendMessageRequest,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from tests.runtime.virtual_time import run


def test_a_reset_is_durable_and_frees_names(tmp_path: Path) -> None:
    async def story() -> None:
        journal = SqliteJournal(tmp_path)
        broker = Broker(journal, executor=InlineExecutor())
        for name in ("jobs", "gone"):
            await broker.call(CreateQueueRequest(queue_name=name))
        await broker.call(SendMessageRequest(queue_url="jobs", message_body="hello"))
        await broker.call(DeleteQueueRequest(queue_url="gone"))
        polled: list[Answer] = []
        caller = Caller("000000000000", "us-east-1", "http://here")
        await broker.call(CreateQueueRequest(queue_name="waited-on"))
        broker.submit(
            ReceiveMessageRequest(queue_url="waited-on", wait_time_seconds=20),
            caller,
            polled.append,
        )
        answers: list[Answer] = []
        broker.reset(None, answers.append)
        await broker.call(CreateQueueRequest(queue_name="gone"))
        assert len(answers) == 1
        [answer] = polled
        assert isinstance(answer, SqsError)
        assert answer.fault is QUEUE_DOES_NOT_EXIST
        await broker.close()
        journal.close()

        journal = SqliteJournal(tmp_path)
        broker = Broker(journal, executor=InlineExecutor())
        assert [view.name for view in broker.view_queues()] == ["gone"]
        await broker.close()
        journal.close()

    run(story())


def test_a_reset_of_one_account_leaves_the_others_alone(tmp_path: Path) -> None:
    async def story() -> None:
        journal = SqliteJournal(tmp_path)
        broker = Broker(journal, executor=InlineExecutor())
        for account_id in ("111111111111", "222222222222"):
            caller = Caller(account_id, "us-east-1", "http://here")
            await broker.call(CreateQueueRequest(queue_name="jobs"), caller)
        broker.reset("111111111111", lambda _: None)
        assert [view.account_id for view in broker.view_queues()] == ["222222222222"]
        await broker.close()
        journal.close()

    run(story())
