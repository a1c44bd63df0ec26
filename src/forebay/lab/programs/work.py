"""A worker: asks the service outside for an effect for each message, and works on for a while."""

from __future__ import annotations

import asyncio
import signal

from forebay.lab.program import Program
from forebay.lab.recording_client import id_in
from forebay.worker import Received, Router, Worker, WorkerSettings

#: What the service outside is asked to do for each message.
EFFECT = "mail"


async def work(
    lab: Program,
    *,
    slow_s: float = 0.0,
    concurrency: int = 4,
    keyed: bool = True,
    drains: bool = True,
) -> None:
    """Work until SIGTERM, and drain then.

    The effect comes first and the rest of the work, `slow_s` of it, after it: who is killed at work
    has had the effect done. `keyed` hands the message's id on as the Idempotency-Key. Without
    `drains` SIGTERM ends the process as it would any program that does not heed it.
    """
    router = Router()

    @router.default
    async def handle(received: Received[str]) -> None:
        subject = id_in(received.text)
        await lab.outside.perform(EFFECT, subject, key=subject if keyed else None)
        await lab.clock.sleep(slow_s)

    settings = WorkerSettings(
        concurrency=concurrency, concurrency_min=concurrency, buffer_medium=concurrency
    )
    worker = Worker(lab.client, lab.queue_url, router, settings=settings, clock=lab.clock)
    if drains:
        await lab.work(worker)
    else:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        await worker.run()
