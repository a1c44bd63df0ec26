"""A poll whose client seemed to be gone waits again, and for no longer than it would have."""

from __future__ import annotations

import asyncio

from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.polls import Answer
from forebay.protocol.actions import ReceiveMessageResult
from tests.broker.test_broker import CALLER, broker_on, create, in_virtual_time, receive, send


@in_virtual_time
async def test_a_resumed_poll_takes_what_came_meanwhile() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    answers: list[Answer] = []
    poll = broker.submit(receive("jobs", wait_s=20), CALLER, answers.append)
    assert poll is not None
    assert broker.abandon(poll)
    assert not broker.abandon(poll)
    await broker.call(send("jobs", "hello"))
    assert broker.resume(poll) is None
    await asyncio.sleep(0.1)
    [answer] = answers
    assert isinstance(answer, ReceiveMessageResult)
    assert [message.body for message in answer.messages or []] == ["hello"]


@in_virtual_time
async def test_a_resumed_poll_ends_when_it_would_have() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    answers: list[Answer] = []
    poll = broker.submit(receive("jobs", wait_s=20), CALLER, answers.append)
    assert poll is not None
    broker.abandon(poll)
    await asyncio.sleep(15)
    assert broker.resume(poll) is not None
    await asyncio.sleep(4.9)
    assert answers == []
    await asyncio.sleep(0.2)
    assert answers == [ReceiveMessageResult()]


@in_virtual_time
async def test_a_poll_that_is_resumed_too_late_ends_at_once() -> None:
    broker = broker_on(MemoryJournal())
    await create(broker)
    answers: list[Answer] = []
    poll = broker.submit(receive("jobs", wait_s=1), CALLER, answers.append)
    assert poll is not None
    broker.abandon(poll)
    await asyncio.sleep(2)
    broker.resume(poll)
    await asyncio.sleep(0.1)
    assert answers == [ReceiveMessageResult()]
