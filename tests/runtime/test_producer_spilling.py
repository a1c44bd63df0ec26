"""The account of the spill while the disk is ahead of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forebay.producer import ProducerSettings
from forebay.producer.account_file import AccountFile
from forebay.producer.buffer import Buffer, Incoming, SpillState
from forebay.producer.entry import Entry
from forebay.producer.spilling import Spiller


class DiskAhead(Executor):
    """Has done every job before the loop hears of the first."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments, **options))
        return done


class WatchedBuffer(Buffer):
    """Notes what was offered by its account whenever the spill has told it something."""

    def __init__(self) -> None:
        super().__init__(1_000, 1_000_000)
        self.offered: list[int] = []

    def from_spill(self, spill: SpillState, *, delivered: int = 0, failed: int = 0) -> None:
        super().from_spill(spill, delivered=delivered, failed=failed)
        self.offered.append(self.ledger().offered)


def entry(number: int) -> Entry:
    return Entry(f"pack-{number}", b"{}", events=10)


async def opened(directory: Path, entries: int) -> tuple[Spiller, WatchedBuffer]:
    """A spill with so many messages of ten envelopes on its disk."""
    buffer = WatchedBuffer()
    spiller = Spiller(directory, buffer, DiskAhead())
    await spiller.open(ProducerSettings())
    incoming: Incoming[int] = buffer.incoming_singles(1_000)
    for number in range(entries * 10):
        assert buffer.offer(incoming, number, 0)
    buffer.take(incoming)
    await spiller.keep([entry(number) for number in range(entries)])
    return spiller, buffer


async def test_no_envelope_is_out_of_the_account_between_two_acknowledgements(
    tmp_path: Path,
) -> None:
    spiller, buffer = await opened(tmp_path, 3)
    taken = await spiller.read(1_000_000)
    buffer.offered.clear()
    await asyncio.gather(
        *(spiller.acknowledge([token], delivered=10, failed=0) for token, _ in taken)
    )
    assert buffer.offered == [30, 30, 30]
    assert buffer.ledger().delivered == 30
    await spiller.close()


async def test_an_acknowledgement_that_is_cancelled_counts_if_the_disk_has_it(
    tmp_path: Path,
) -> None:
    spiller, buffer = await opened(tmp_path, 1)
    [(token, _)] = await spiller.read(1_000_000)
    task = asyncio.create_task(spiller.acknowledge([token], delivered=10, failed=0))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    ledger = buffer.ledger()
    assert (ledger.offered, ledger.delivered, ledger.spilled) == (10, 10, 0)
    await spiller.close()


async def test_what_is_saved_is_the_account_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a kill between two acknowledgements leaves an account that adds up."""
    spiller, _ = await opened(tmp_path, 2)
    saved: list[dict[str, int]] = []
    monkeypatch.setattr(
        AccountFile, "write", lambda _, data: saved.append(msgspec.json.decode(data))
    )
    taken = await spiller.read(1_000_000)
    await asyncio.gather(
        *(spiller.acknowledge([token], delivered=10, failed=0) for token, _ in taken)
    )
    assert saved
    for account in saved:
        assert account["delivered"] + account["appended"] - account["acknowledged"] == 20
    await spiller.close()
