"""Producers that are killed, with the queue there and away: what was on the disk arrives."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from forebay import HttpSqsClient
from forebay.messages.packing import PACK_ATTRIBUTE, open_pack
from forebay.producer import ProducerLedger
from tests.acceptance.serve_process import ServeProcess, free_port

#: A busy machine starts a process in seconds.
pytestmark = pytest.mark.timeout(300)

#: Producers that are killed one after another, and the most that each lives, in seconds.
KILLED, LIFE_S = 6, 0.8

#: What a killed producer had read from the disk and sent may be sent again by the next.
UNDER_WAY = KILLED * 5_000


class ProducerProcess:
    """One run of the program, killed at the end of the block."""

    def __init__(self, endpoint_url: str, spill: Path, first: int) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.acceptance.spilling_program",
                endpoint_url,
                str(spill),
                str(first),
            ],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> ProducerProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def recovered(self) -> ProducerLedger:
        """What it went on from, when it has started."""
        assert self._process.stdout is not None
        return _ledger(self._process.stdout.readline(), "recovered")

    def kill(self) -> int | None:
        """End it with SIGKILL; up to which event all were safe, as far as it has said."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        said = [line for line in self._process.stdout.read().splitlines() if "on disk" in line]
        return int(said[-1].split()[-1]) if said else None

    def stop(self) -> ProducerLedger:
        """End it with SIGTERM; its ledger."""
        self._process.terminate()
        output, _ = self._process.communicate(timeout=120)
        return _ledger(output.splitlines()[-1], "ledger")


def _ledger(line: str, title: str) -> ProducerLedger:
    assert line.startswith(title), line
    return msgspec.json.decode(line.removeprefix(title), type=ProducerLedger)


async def test_what_a_killed_producer_had_on_the_disk_arrives_and_its_account_goes_on(
    tmp_path: Path,
) -> None:
    chance = random.Random(10)
    port = free_port()
    endpoint_url = f"http://127.0.0.1:{port}"
    spill = tmp_path / "spill"
    safe: list[range] = []
    offered = 0
    with ExitStack() as broker:

        def start_broker() -> None:
            serve = broker.enter_context(
                ServeProcess("--port", str(port), "--data", str(tmp_path / "broker"))
            )
            serve.wait_until_it_serves()

        for life in range(KILLED):
            # The queue is away in the first lives, there in the next, and away again.
            if life == KILLED // 3:
                start_broker()
                async with HttpSqsClient(endpoint_url) as client:
                    await client.create_queue("usage-logs")
            if life == 2 * KILLED // 3:
                broker.close()
            first = life * 1_000_000
            with ProducerProcess(endpoint_url, spill, first) as process:
                ledger = process.recovered()
                assert _sum(ledger) == ledger.offered >= offered
                offered = ledger.offered
                await asyncio.sleep(chance.uniform(LIFE_S / 2, LIFE_S))
                said = process.kill()
                if said is not None:
                    safe.append(range(first, said))
        start_broker()
        with ProducerProcess(endpoint_url, spill, KILLED * 1_000_000) as process:
            assert process.recovered().spilled > 0
            final = process.stop()
        async with HttpSqsClient(endpoint_url) as client:
            arrived = await _arrived(client)

    assert (final.spilled, final.buffered, final.corrupt) == (0, 0, 0)
    assert _sum(final) == final.offered
    assert len(safe) > KILLED // 2
    missing = [number for each in safe for number in each if number not in arrived]
    assert missing == []
    # What was under way counts as failed, and may have arrived. What was sent from the disk and
    # not marked there in time counts again.
    assert len(arrived) <= final.delivered + final.failed
    assert final.delivered <= len(arrived) + UNDER_WAY


def _sum(ledger: ProducerLedger) -> int:
    return (
        ledger.delivered
        + sum(ledger.dropped.values())
        + ledger.failed
        + ledger.corrupt
        + ledger.buffered
        + ledger.spilled
    )


async def _arrived(client: HttpSqsClient) -> set[int]:
    numbers: set[int] = set()
    while True:
        result = await client.receive("usage-logs", limit=10)
        if not result:
            return numbers
        for message in result:
            attributes = message.message_attributes or {}
            content = attributes[PACK_ATTRIBUTE].binary_value
            assert content is not None
            lines = open_pack(message.body, content).lines.splitlines()
            numbers.update(msgspec.json.decode(line)[1] for line in lines)
            await client.delete("usage-logs", message)
