"""A producer that sends numbered events until it is killed, and says what it knows to be safe.

    python -m tests.acceptance.spilling_program ENDPOINT_URL SPILL FIRST

It prints `on disk N` when every event up to N is in SQS or on the disk, and at SIGTERM its ledger.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from forebay import HttpSqsClient, Producer
from forebay.producer import ProducerSettings, WhenFull

#: Events that are sent at once, and the pause after them, in seconds.
BURST, PAUSE_S = 50, 0.002


async def main(endpoint_url: str, spill: Path, number: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    settings = ProducerSettings(
        flush_ms=20, timeout_ms=200, buffer_size=5_000, when_full=WhenFull.SPILL
    )
    async with HttpSqsClient(endpoint_url) as client:
        producer = Producer(client, "usage-logs", settings=settings, spill=spill)
        await producer.start()
        print("recovered", msgspec.json.encode(producer.ledger).decode(), flush=True)
        while not stopped.is_set():
            for _ in range(BURST):
                if producer.send("usage_log", number):
                    number += 1
            await asyncio.sleep(PAUSE_S)
            if number % 1_000 == 0 and await producer.flush(timeout_s=5):
                print("on disk", number, flush=True)
        while producer.ledger.spilled:  # noqa: ASYNC110 - nobody tells when the disk is empty
            await asyncio.sleep(0.05)
        ledger = await producer.close()
        print("ledger", msgspec.json.encode(ledger).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
