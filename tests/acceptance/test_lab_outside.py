"""The outside service as a process: asked over HTTP, stopped, and killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.lab.outside.client import (
    OutsideBusy,
    OutsideClient,
    OutsideDeclined,
    OutsideRefused,
    OutsideUnreachable,
)
from forebay.lab.outside.ledger import read_effects


class OutsideProcess:
    """One run of the service, killed at the end of the block if it still runs."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self._process = subprocess.Popen(
            [sys.executable, "-m", "forebay.lab.outside.process", "--ledger", str(ledger)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def end(self, number: signal.Signals) -> int:
        """Its exit code after this signal."""
        assert self._process.stdout is not None
        self._process.send_signal(number)
        code = self._process.wait(20)
        self._process.stdout.close()
        return code


async def two_at_once(client: OutsideClient) -> tuple[asyncio.Task[object], asyncio.Task[object]]:
    """Of two requests for one effect that takes long: the one that was refused, and the other."""
    both = {asyncio.ensure_future(client.perform("charge", "order-3", "k-3")) for _ in range(2)}
    (refused,), (slow,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    return refused, slow


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[OutsideProcess]:
    process = OutsideProcess(tmp_path / "outside.db")
    yield process
    process.end(signal.SIGKILL)


async def test_effects_over_http_and_their_ledger(outside: OutsideProcess) -> None:
    async with OutsideClient(outside.url, caller="consumer-ü") as client:
        assert outside.url.startswith("http://127.0.0.1:")
        first = await client.perform("charge", "order-1", "a key %", amount=7)
        assert await client.perform("charge", "order-1", "a key %", amount=7) == first
        await client.perform("send mail/now", "order-1")
        with pytest.raises(OutsideRefused, match="came with another action or body before"):
            await client.perform("charge", "order-1", "a key %", amount=8)
        await client.configure(declines=("order-2",))
        with pytest.raises(OutsideDeclined, match="charge of order-2 is declined"):
            await client.perform("charge", "order-2")
        await client.configure(delay_s=60)
        refused, slow = await two_at_once(client)
        with pytest.raises(OutsideBusy):
            await refused
        effects = await client.effects()
        assert [(each.number, each.action, each.key) for each in effects] == [
            (1, "charge", "a key %25"),
            (2, "send mail/now", None),
        ]
        assert {each.caller for each in effects} == {"consumer-%C3%BC"}
        outside.end(signal.SIGKILL)
        with pytest.raises(OutsideUnreachable, match="gave no answer"):
            await slow
        with pytest.raises(OutsideUnreachable, match="gave no answer"):
            await client.perform("charge", "order-4")
    assert read_effects(outside.ledger) == effects


async def test_an_effect_whose_caller_has_gone_is_done_nevertheless(
    outside: OutsideProcess,
) -> None:
    async with OutsideClient(outside.url) as client:
        await client.configure(delay_s=0.3)
        async with OutsideClient(outside.url, timeout_s=0.1) as hasty:
            with pytest.raises(OutsideUnreachable, match=r"gave no answer in 0\.1 s"):
                await hasty.perform("charge", "order-1", "k-1")
        for _ in range(1_000):
            try:
                answer = await client.perform("charge", "order-1", "k-1")
                break
            except OutsideBusy:
                await asyncio.sleep(0.02)
    assert answer.number == 1
    assert len(read_effects(outside.ledger)) == 1


async def test_it_stops_at_sigterm_though_an_effect_takes_long(outside: OutsideProcess) -> None:
    async with OutsideClient(outside.url) as client:
        await client.configure(delay_s=600)
        refused, slow = await two_at_once(client)
        with pytest.raises(OutsideBusy):
            await refused
        assert outside.end(signal.SIGTERM) == 0
        with pytest.raises(OutsideUnreachable, match="The service stops; charge of order-3 is not"):
            await slow
    assert read_effects(outside.ledger) == []


async def test_it_stops_at_sigterm_and_goes_on_with_its_ledger(outside: OutsideProcess) -> None:
    async with OutsideClient(outside.url) as client:
        first = await client.perform("charge", "order-1", "k-1")
    assert outside.end(signal.SIGTERM) == 0
    again = OutsideProcess(outside.ledger)
    async with OutsideClient(again.url) as client:
        assert await client.perform("charge", "order-1", "k-1") == first
    again.end(signal.SIGKILL)
    assert len(read_effects(outside.ledger)) == 1
