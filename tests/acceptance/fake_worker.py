"""A worker that needs no SQS and misbehaves as its environment says, for the supervisor's tests."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay.errors import ServiceUnreachable, SettingsError
from forebay.worker.ledger import WorkerLedger
from forebay.worker.queue import Queue
from forebay.worker.routing import Router
from forebay.worker.settings import WorkerSettings
from forebay.worker.snapshot import Histogram, PoolSnapshot, QueueSnapshot, WorkerSnapshot

_log = logging.getLogger("shop")

#: What goes wrong: `dies`, `killed`, `raises`, `refuses`, `hangs`, `blocks`, `loses`, `slow`,
#: `lingers` (a thread goes on behind the drain), or nothing.
FAULT = os.environ.get("FAKE_FAULT", "")


class NoClient:
    """A client that reaches nobody."""

    async def get_queue_url(self, request: object) -> None:
        raise ServiceUnreachable

    async def close(self) -> None:
        pass


class FakeWorker:
    """Has three messages in hand until it stops, and then has handled them."""

    def __init__(
        self, queues: tuple[Queue, ...] = (Queue("orders"), Queue("mail")), drain_s: float = 1.0
    ) -> None:
        self.client = NoClient()
        self.queues = queues
        self.router = Router()
        self.settings = WorkerSettings(wait_s=0, drain_timeout_s=drain_s, thread_timeout_s=0)
        self._stopping = asyncio.Event()
        self._told_now = asyncio.Event()
        self._state = "starting"
        self._in_hand = 3
        self._ended: dict[str, int] = {}

    def but(self, *, queues: tuple[Queue, ...], settings: WorkerSettings) -> FakeWorker:
        return FakeWorker(queues, settings.drain_timeout_s)

    def stop(self, *, now: bool = False) -> None:
        if now:
            self._told_now.set()
        self._state = "draining"
        self._stopping.set()

    async def run(self) -> WorkerLedger:
        if FAULT == "refuses":
            # Long enough for a first report.
            await asyncio.sleep(0.3)
            raise SettingsError("The queue is its own dead-letter queue.")
        self._state = "working"
        _log.info("working on %s", ", ".join(queue.name for queue in self.queues))
        if FAULT == "dies":
            await asyncio.sleep(0.3)
            os._exit(7)
        if FAULT == "killed":
            await asyncio.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        if FAULT == "raises":
            raise RuntimeError("a bug")
        await self._stopping.wait()
        if FAULT == "blocks":
            time.sleep(60)  # noqa: ASYNC251 - this is the fault
        if FAULT == "hangs":
            await asyncio.sleep(60)
        if FAULT == "slow":
            await self._told_now.wait()
        if FAULT == "lingers":
            threading.Thread(target=time.sleep, args=(60,)).start()
        ending = "lost" if FAULT == "loses" else "released" if self._told_now.is_set() else "acked"
        self._ended, self._in_hand, self._state = {ending: 3}, 0, "stopped"
        return self._ledger()

    def _ledger(self) -> WorkerLedger:
        return WorkerLedger(received=3, in_hand=self._in_hand, **self._ended)

    def snapshot(self) -> WorkerSnapshot:
        first, *others = self.queues
        return WorkerSnapshot(
            at_ms=time.time_ns() // 1_000_000,
            process_id=os.getpid(),
            state=self._state,
            queues=[
                QueueSnapshot(
                    name=first.name,
                    priority=first.priority,
                    visible=5,
                    polls=1,
                    wait_s=2,
                    answered_ago_s=0.1,
                    ledger=self._ledger(),
                    handling=Histogram(),
                ),
                *(
                    QueueSnapshot(
                        name=queue.name, priority=queue.priority, polls=1, handling=Histogram()
                    )
                    for queue in others
                ),
            ],
            buffers=[],
            pollers=PoolSnapshot(target=2, busy=2, least=1, most=4),
            processors=PoolSnapshot(target=4, busy=self._in_hand, least=1, most=8),
            decisions=[],
        )


def worker() -> FakeWorker:
    return FakeWorker()


@asynccontextmanager
async def closing_badly() -> AsyncIterator[FakeWorker]:
    yield FakeWorker()
    raise RuntimeError("a bug behind the drain")
