"""A Forebay worker over three queues, whose handler takes a few milliseconds and notes its times.

It runs as `forebay worker run spike_app:worker`.
SPIKE_WORK_S is how long the handler takes, SPIKE_NOTES the directory for what was noted.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from forebay import HIGH, LOW, MEDIUM, HttpSqsClient, Queue, Received, Router, Worker

#: The queues, by name.
PRIORITIES = {"high": HIGH, "medium": MEDIUM, "low": LOW}


class Work(Struct):
    """What a message carries."""

    number: int


class Handled(Struct):
    """When one message was sent and when its handler began, in ms since the Unix epoch."""

    queue: str
    sent_at_ms: int
    began_at_ms: int


handled: list[Handled] = []


@asynccontextmanager
async def worker() -> AsyncIterator[Worker]:
    """The worker as the environment describes it."""
    work_s = float(os.environ["SPIKE_WORK_S"])
    router = Router()

    @router.handler("work", Work)
    async def work(received: Received[Work]) -> None:
        began_at_ms = time.time_ns() // 1_000_000
        handled.append(Handled(received.queue, received.sent_at_ms, began_at_ms))
        await asyncio.sleep(work_s)

    atexit.register(_write)
    queues = [Queue(name, priority=priority) for name, priority in PRIORITIES.items()]
    async with HttpSqsClient() as client:
        yield Worker(client, queues, router)


def _write() -> None:
    path = Path(os.environ["SPIKE_NOTES"], f"{os.getpid()}.json")
    path.write_bytes(msgspec.json.encode(handled))
