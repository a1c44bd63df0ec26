"""A broker whose disk fails for a while, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.protocol.actions import (
    DeleteMessageRequest,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    ReceiveMessageResult,
)
from forebay.protocol.errors import SqsError
from tests.broker.test_broker import (
    Asked,
    all_bodies_in,
    create,
    in_virtual_time,
    receive,
    send,
)
from tests.contract.faulty_disk import Fault, FaultyDisk
from tests.contract.test_disk_faults import open_journal
from tests.runtime.virtual_time import LoopClock


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


class Run:
    """A broker on a faulty disk, and what it acknowledged."""

    def __init__(self, directory: Path, disk: FaultyDisk) -> None:
        self.journal = open_journal(directory, disk)
        self.broker = Broker(
            self.journal, executor=InlineExecutor(), clock=LoopClock(), entropy=bytes
        )
        self.sent: set[str] = set()
        self.deleted: set[str] = set()
        self.refused: list[str] = []

    async def use(self, first: int, last: int) -> None:
        """Send messages, and delete every other one; what is refused is not tried again."""
        for number in range(first, last):
            try:
                await self.broker.call(send("jobs", f"m{number}"))
                self.sent.add(f"m{number}")
                if number % 2:
                    await self.delete_one()
            except SqsError as error:
                self.refused.append(error.code)

    async def delete_one(self) -> None:
        result = await self.broker.call(receive("jobs"))
        assert isinstance(result, ReceiveMessageResult)
        for message in result.messages or []:
            await self.broker.call(
                DeleteMessageRequest(queue_url="jobs", receipt_handle=message.receipt_handle)
            )
            self.deleted.add(message.body)

    async def end(self) -> None:
        await self.broker.close()
        self.journal.close()


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("write", after, apsw.SQLITE_FULL, lasts=True, kept=0.5) for after in range(9)),
        *(Fault("sync", after, apsw.SQLITE_IOERR_FSYNC, lasts=True) for after in range(3)),
        Fault("read", 0, apsw.SQLITE_IOERR_READ, lasts=True),
    ],
    ids=lambda fault: f"{fault.operation}-{fault.after}",
)
@in_virtual_time
async def test_a_disk_that_fails_for_a_while_costs_no_acknowledged_change_and_no_restart(
    tmp_path: Path, disk: FaultyDisk, fault: Fault
) -> None:
    run = Run(tmp_path, disk)
    await create(run.broker, VisibilityTimeout="0")
    await run.use(0, 20)
    assert run.refused == []
    disk.fault = replace(fault)
    await run.use(20, 40)
    assert set(run.refused) <= {"ServiceUnavailable"}
    assert bool(run.refused) == (fault.operation != "read")
    disk.fault = None
    run.refused.clear()
    await asyncio.sleep(1)
    await run.use(40, 60)
    assert run.refused == []
    await run.end()
    after_a_restart = open_journal(tmp_path, disk)
    assert all_bodies_in(after_a_restart) == sorted(run.sent - run.deleted)
    after_a_restart.close()


@in_virtual_time
async def test_a_full_disk_leaves_questions_answered_and_polls_waiting(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    run = Run(tmp_path, disk)
    await create(run.broker)
    poll = Asked(run.broker, receive("jobs", wait_s=20))
    disk.fault = Fault("write", 0, apsw.SQLITE_FULL, lasts=True)
    for _ in range(3):
        with suppress(SqsError):
            await create(run.broker, "others")
        found = await run.broker.call(GetQueueUrlRequest(queue_name="jobs"))
        assert isinstance(found, GetQueueUrlResult)
    assert poll.answers == []
    disk.fault = None
    await asyncio.sleep(1)
    await run.broker.call(send("jobs", "hello"))
    assert isinstance(poll.answer, ReceiveMessageResult)
    assert [message.body for message in poll.answer.messages or []] == ["hello"]
    await run.end()
