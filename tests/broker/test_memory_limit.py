"""A broker that may take little memory, under virtual time."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from forebay.broker import memory_limit
from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.memory import MESSAGE_BYTES, MemoryUse
from forebay.broker.journal.base import Durability, Journal
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.journal.sqlite import SqliteJournal
from forebay.broker.memory_limit import MemoryLimit, default_memory_limit_bytes
from forebay.protocol.actions import (
    AnyRequest,
    ChangeMessageVisibilityRequest,
    DeleteMessageRequest,
    Message,
    ReceiveMessageResult,
)
from forebay.protocol.errors import SqsError
from tests.broker.test_broker import Asked, create, in_virtual_time, receive, send, settle
from tests.runtime.virtual_time import LoopClock

BODY = "x" * 10_000

#: What a message with such a body takes of memory at least.
EACH_BYTES = len(BODY) + MESSAGE_BYTES


class Run:
    """A broker that may hold some ten messages of 10,000 characters."""

    def __init__(self, journal: Journal, limit_bytes: int = 12 * EACH_BYTES) -> None:
        self.journal = journal
        self.broker = Broker(
            journal,
            executor=InlineExecutor(),
            clock=LoopClock(),
            entropy=random.Random(3).randbytes,
            memory_limit_bytes=limit_bytes,
        )

    def alarm(self) -> str | None:
        return self.broker.alarms["memory"]

    async def refused(self, request: AnyRequest) -> str:
        with pytest.raises(SqsError) as refused:
            await self.broker.call(request)
        return f"{refused.value.code}: {refused.value.message}"

    async def send(self, count: int) -> int:
        """Send messages, one every tenth of a second. Answers how many were taken."""
        for number in range(count):
            if self.alarm() is not None:
                refusal = await self.refused(send("jobs", BODY))
                assert refusal.startswith("ServiceUnavailable: The broker has as many messages and")
                return number
            await self.broker.call(send("jobs", f"{number} {BODY}"))
            await asyncio.sleep(0.1)
        return count

    async def take(self, limit: int = 10) -> list[Message]:
        result = await self.broker.call(receive("jobs", limit=limit))
        assert isinstance(result, ReceiveMessageResult)
        return result.messages or []

    async def delete(self, message: Message) -> None:
        await self.broker.call(DeleteMessageRequest("jobs", message.receipt_handle or ""))

    async def release(self, message: Message) -> None:
        handle = message.receipt_handle or ""
        await self.broker.call(ChangeMessageVisibilityRequest("jobs", handle, 0))

    async def end(self) -> None:
        await self.broker.close()
        self.journal.close()


@in_virtual_time
async def test_a_queue_in_memory_refuses_sends_and_is_emptied_by_receives() -> None:
    run = Run(MemoryJournal())
    await create(run.broker)
    sent = await run.send(100)
    assert 5 <= sent <= 13
    assert run.alarm() is not None
    taken = 0
    while messages := await run.take():
        for message in messages:
            await run.delete(message)
        taken += len(messages)
    assert taken == sent
    await asyncio.sleep(0.2)
    assert run.alarm() is None
    assert await run.send(1) == 1
    await run.end()


@in_virtual_time
async def test_a_consumer_that_deletes_nothing_gets_no_more_but_what_came_back(
    tmp_path: Path,
) -> None:
    """Received messages stay in memory; others stay on the disk until some of those are gone."""
    journal = SqliteJournal(tmp_path, Durability.OS, executor=InlineExecutor())
    run = Run(journal)
    await create(run.broker, VisibilityTimeout="600")
    sent = await run.send(100)
    held = await run.take(sent - 2)
    await asyncio.sleep(0.2)
    assert (await run.refused(receive("jobs"))).startswith("OverLimit: The messages that were")
    poll = Asked(run.broker, receive("jobs", wait_s=20))
    await asyncio.sleep(1)
    assert poll.answers == []
    await run.release(held[3])
    await settle()
    assert isinstance(poll.answer, ReceiveMessageResult)
    [again] = poll.answer.messages or []
    assert again.message_id == held.pop(3).message_id
    waiting = Asked(run.broker, receive("jobs", wait_s=20))
    for message in [again, *held]:
        await run.delete(message)
    await asyncio.sleep(1)
    assert run.alarm() is None
    assert isinstance(waiting.answer, ReceiveMessageResult)
    assert len(waiting.answer.messages or []) == 1
    await run.end()


@in_virtual_time
async def test_deduplication_ids_are_counted_and_forgotten_without_another_request() -> None:
    run = Run(MemoryJournal(), limit_bytes=20_000)
    await create(run.broker, "jobs.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    taken = 0
    while run.alarm() is None:
        await run.broker.call(send("jobs.fifo", str(taken), message_group_id="g"))
        found = await run.broker.call(receive("jobs.fifo"))
        assert isinstance(found, ReceiveMessageResult)
        for message in found.messages or []:
            handle = message.receipt_handle or ""
            await run.broker.call(DeleteMessageRequest("jobs.fifo", handle))
        taken += 1
        await asyncio.sleep(0.1)
    assert 20 <= taken <= 40
    await run.refused(send("jobs.fifo", "one too many", message_group_id="g"))
    await asyncio.sleep(301)
    assert run.alarm() is None
    await run.broker.call(send("jobs.fifo", "0", message_group_id="g"))
    await run.end()


def test_the_alarm_ends_well_below_where_it_began() -> None:
    limit = MemoryLimit(1_000, drains_by_receiving=False)
    seen = []
    for taken in (600, 1_000, 1_001, 900, 801, 800, 900):
        limit.look(MemoryUse(taken, 0, 0), 0)
        seen.append(limit.shortage is not None)
    assert seen == [False, False, True, True, True, False, False]


@pytest.mark.parametrize(
    ("limit_mb", "taken_mb", "again_ms"),
    [(4_000, 0, 1_000), (4_000, 3_600, 800), (4_000, 3_999, 20), (4_000, 4_100, 20), (0, 9, 1_000)],
)
def test_it_looks_again_before_clients_can_have_sent_what_is_left(
    limit_mb: int, taken_mb: int, again_ms: int
) -> None:
    limit = MemoryLimit(limit_mb * 1_000_000, drains_by_receiving=False)
    assert limit.look(MemoryUse(taken_mb * 1_000_000, 0, 0), 0) == again_ms


@pytest.mark.parametrize(
    ("received_bytes", "in_memory", "alone"),
    [(500, False, False), (501, False, True), (900, True, False)],
)
def test_receives_are_held_back_when_what_was_received_is_most_of_it(
    received_bytes: int, in_memory: bool, alone: bool
) -> None:
    limit = MemoryLimit(1_000, drains_by_receiving=in_memory)
    limit.look(MemoryUse(1_001, 0, received_bytes), 0)
    assert limit.redelivers_alone is alone


def test_what_the_journal_has_in_memory_and_the_queues_too_is_counted_once() -> None:
    limit = MemoryLimit(0, drains_by_receiving=True)
    limit.look(MemoryUse(content_bytes=300, other_bytes=50, received_bytes=0), 400)
    assert (limit.taken_bytes, limit.shortage) == (450, None)


def test_half_of_the_memory_of_the_machine_or_the_container_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_bytes = 2 * default_memory_limit_bytes()
    cgroup = tmp_path / "memory.max"
    monkeypatch.setattr(memory_limit, "_CGROUP_LIMIT", cgroup)
    assert default_memory_limit_bytes() * 2 >= machine_bytes
    cgroup.write_text("max\n")
    assert default_memory_limit_bytes() * 2 >= machine_bytes
    cgroup.write_text("104857600\n")
    assert default_memory_limit_bytes() == 52_428_800
