"""A broker whose disk fills and is emptied again, under virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.core.engine import Caller
from forebay.broker.journal.base import Durability
from forebay.broker.journal.reserve import RESERVE_FILE, DiskReserve
from forebay.broker.journal.sqlite import SqliteJournal
from forebay.broker.pages import show
from forebay.protocol.actions import DeleteMessageRequest, ReceiveMessageResult
from forebay.protocol.errors import SqsError
from tests.broker.test_broker import create, in_virtual_time, receive, send
from tests.contract.faulty_disk import Fault, FaultyDisk
from tests.contract.test_reserve import MEBIBYTE, Disk
from tests.runtime.virtual_time import LoopClock

CALLER = Caller("000000000000", "us-east-1", "http://sqs.test")

ALMOST_FULL = "The disk of the broker is almost full, so it takes no messages now."


@pytest.fixture
def faulty() -> Iterator[FaultyDisk]:
    disk = FaultyDisk()
    yield disk
    disk.unregister()


class Run:
    """A broker on a disk whose space and whose faults are the test's."""

    def __init__(self, directory: Path, faulty: FaultyDisk) -> None:
        self.disk = Disk(100 * MEBIBYTE)
        self.journal = SqliteJournal(
            directory,
            Durability.OS,
            executor=InlineExecutor(),
            vfs=faulty.name,
            reserve=lambda path: DiskReserve(path, 4 * MEBIBYTE, space=self.disk.space),
        )
        self.broker = Broker(
            self.journal, executor=InlineExecutor(), clock=LoopClock(), entropy=bytes
        )

    async def refusal(self) -> str:
        """What a send is refused with."""
        with pytest.raises(SqsError) as refused:
            await self.broker.call(send("jobs", "one too many"))
        assert refused.value.code == "ServiceUnavailable"
        return refused.value.message

    async def take_one(self) -> str:
        result = await self.broker.call(receive("jobs"))
        assert isinstance(result, ReceiveMessageResult)
        [message] = result.messages or []
        await self.broker.call(DeleteMessageRequest("jobs", message.receipt_handle or ""))
        return message.body or ""

    def health(self) -> tuple[int, list[dict[str, Any]]]:
        page = show(self.broker, b"/health", b"", CALLER)
        return page.status, json.loads(page.body)["alarms"]

    def metrics(self) -> str:
        return show(self.broker, b"/metrics", b"", CALLER).body.decode()

    async def end(self) -> None:
        await self.broker.close()
        self.journal.close()


@in_virtual_time
async def test_a_disk_that_others_fill_stops_sends_alone_and_only_until_there_is_room(
    tmp_path: Path, faulty: FaultyDisk
) -> None:
    run = Run(tmp_path, faulty)
    await create(run.broker)
    for body in "abc":
        await run.broker.call(send("jobs", body))
    assert run.health() == (200, [])
    run.disk.free_bytes = 3 * MEBIBYTE
    await asyncio.sleep(1)
    assert (await run.refusal()).startswith(ALMOST_FULL)
    status, [alarm] = run.health()
    assert (status, alarm["name"]) == (200, "disk")
    assert alarm["reason"].startswith(ALMOST_FULL)
    assert 'forebay_alarm{alarm="disk"} 1.0' in run.metrics()
    assert await run.take_one() == "a"
    assert await run.take_one() == "b"
    run.disk.free_bytes = 50 * MEBIBYTE
    await asyncio.sleep(1)
    await run.broker.call(send("jobs", "d"))
    assert run.health() == (200, [])
    metrics = run.metrics()
    assert 'forebay_alarm{alarm="disk"} 0.0' in metrics
    assert "forebay_disk_reserve_bytes 4.194304e+06" in metrics
    assert (await run.take_one(), await run.take_one()) == ("c", "d")
    await run.end()


@in_virtual_time
async def test_a_delete_that_finds_no_space_gets_the_reserve_and_nobody_notices(
    tmp_path: Path, faulty: FaultyDisk
) -> None:
    run = Run(tmp_path, faulty)
    await create(run.broker)
    await run.broker.call(send("jobs", "a"))
    faulty.fault = Fault("write", 0, apsw.SQLITE_FULL)
    assert await run.take_one() == "a"
    assert not (tmp_path / RESERVE_FILE).exists()
    assert (await run.refusal()).startswith(ALMOST_FULL)
    await asyncio.sleep(1)
    assert (tmp_path / RESERVE_FILE).exists()
    await run.broker.call(send("jobs", "b"))
    await run.end()


@in_virtual_time
async def test_a_send_that_finds_no_space_leaves_the_reserve_to_deletes(
    tmp_path: Path, faulty: FaultyDisk
) -> None:
    run = Run(tmp_path, faulty)
    await create(run.broker)
    await run.broker.call(send("jobs", "a"))
    faulty.fault = Fault("write", 0, apsw.SQLITE_FULL)
    await run.refusal()
    assert (tmp_path / RESERVE_FILE).exists()
    assert await run.take_one() == "a"
    await run.end()


@in_virtual_time
async def test_a_message_too_large_for_the_room_is_refused_and_no_other(
    tmp_path: Path, faulty: FaultyDisk
) -> None:
    run = Run(tmp_path, faulty)
    await create(run.broker)
    run.disk.free_bytes = 5 * MEBIBYTE + MEBIBYTE // 2
    await asyncio.sleep(1)
    with pytest.raises(SqsError):
        await run.broker.call(send("jobs", "x" * MEBIBYTE))
    await asyncio.sleep(1)
    await run.broker.call(send("jobs", "a"))
    assert await run.take_one() == "a"
    await run.end()


@in_virtual_time
async def test_a_disk_that_fails_for_a_while_is_two_lines_of_log_without_a_traceback(
    tmp_path: Path, faulty: FaultyDisk, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, faulty)
    await create(run.broker)
    faulty.fault = Fault("write", 0, apsw.SQLITE_IOERR_WRITE, lasts=True)
    for _ in range(20):
        with pytest.raises(SqsError):
            await run.broker.call(send("jobs", "x"))
    faulty.fault = None
    await run.broker.call(send("jobs", "x"))
    await run.end()
    begin, end = caplog.messages
    assert "cannot be written, so every change is refused" in begin
    assert "can be written again. It lasted" in end
    assert not any(record.exc_info for record in caplog.records)


async def test_an_error_that_is_not_the_disks_keeps_its_traceback(
    tmp_path: Path,
    faulty: FaultyDisk,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(tmp_path, faulty)
    await create(run.broker)

    def broken(*_: object) -> None:
        raise apsw.SQLError("no such table")

    monkeypatch.setattr(run.journal._log, "_database", type("Broken", (), {"execute": broken})())
    with pytest.raises(SqsError):
        await run.broker.call(send("jobs", "x"))
    monkeypatch.undo()
    assert any(record.exc_info for record in caplog.records)
    await run.end()
