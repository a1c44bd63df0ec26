"""A worker as users write one: what its messages say is what its handlers do.

Its environment says where everything is; see `Place`. Each step of a handler is a line in a journal
that all its processes share, so that a test knows what happened, and in which order.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec
import uvloop
from msgspec import Struct

from forebay import (
    ForebayError,
    Guard,
    HttpSqsClient,
    Received,
    Retry,
    Router,
    Worker,
    WorkerSettings,
    run_until_signalled,
)
from forebay.idempotency import Attempt, Elsewhere, SqliteIdempotencyStore, business_key

#: How long the key of an effect stays taken when the process that took it is killed.
LEASE_MS = 2_000


class Place(Struct):
    """Where a worker works, as JSON in the variable WORKER_PLACE."""

    endpoint_url: str
    queue_url: str
    journal: str
    settings: dict[str, Any] = {}
    #: Where effects are asked for, and the file that guards them. Without the file nothing does.
    effects_url: str = ""
    guard: str = ""
    #: The effect after which a process kills itself, the first one that has asked for it.
    die_after: str = ""


class Job(Struct):
    """A message of types `job`, `plain_job` and `effect`."""

    name: str
    work_ms: int = 0
    #: How many of its receives fail.
    failures: int = 0


class Event(Struct):
    """A line of the journal."""

    event: str
    name: str
    process_id: int
    #: The process that started it: a test's, or `forebay worker run`.
    parent_id: int
    receive_count: int
    age_ms: int
    group_id: str | None = None


class Handlers:
    """The handlers, and what they share."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._journal = os.open(place.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._guard: Guard | None = None
        self._opening = asyncio.Lock()

    async def job(self, received: Received[Job]) -> None:
        self._note("began", received)
        self._fail_if_asked(received)
        await asyncio.sleep(received.payload.work_ms / 1000)
        self._note("ended", received)

    def plain_job(self, received: Received[Job]) -> None:
        self._note("began", received)
        self._fail_if_asked(received)
        time.sleep(received.payload.work_ms / 1000)
        self._note("ended", received)

    async def effect(self, received: Received[Job]) -> None:
        """Ask for an effect elsewhere, once if there is a guard."""
        name = received.payload.name
        if not self._place.guard:
            await self._ask(received, None)
            return

        async def ask(attempt: Attempt) -> None:
            await self._ask(received, attempt.key)

        guard = await self._opened_guard()
        outcome = await guard.run(business_key("effect", name), ask)
        if isinstance(outcome, Elsewhere):
            raise Retry(outcome.remaining_s)

    async def _ask(self, received: Received[Job], key: str | None) -> None:
        headers = {"Process-Id": str(os.getpid())}
        if key is not None:
            headers["Idempotency-Key"] = key
        name = received.payload.name
        request = Request(f"{self._place.effects_url}/{name}", headers=headers, method="POST")
        await asyncio.to_thread(lambda: urlopen(request).close())
        if name == self._place.die_after and self._is_first_to_die():
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first_to_die(self) -> bool:
        """Whether no worker has died for this. The first receive may have ended before it asked."""
        try:
            Path(f"{self._place.journal}.died").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    async def _opened_guard(self) -> Guard:
        async with self._opening:
            if self._guard is None:
                store = await SqliteIdempotencyStore.open(Path(self._place.guard), durable=False)
                self._guard = Guard(store, lease_ms=LEASE_MS)
        return self._guard

    def _fail_if_asked(self, received: Received[Job]) -> None:
        if received.receive_count <= received.payload.failures:
            self._note("failed", received)
            raise RuntimeError("asked to fail")

    def _note(self, event: str, received: Received[Job]) -> None:
        line = Event(
            event,
            received.payload.name,
            os.getpid(),
            os.getppid(),
            received.receive_count,
            time.time_ns() // 1_000_000 - received.sent_at_ms,
            received.group_id,
        )
        # Short appends do not interleave, so that all processes may share the file.
        os.write(self._journal, msgspec.json.encode(line) + b"\n")


@asynccontextmanager
async def worker() -> AsyncIterator[Worker]:
    """The worker, for `forebay worker run` and for this program itself."""
    place = msgspec.json.decode(os.environ["WORKER_PLACE"], type=Place)
    handlers, router = Handlers(place), Router()
    router.handler("job", Job)(handlers.job)
    router.handler("plain_job", Job)(handlers.plain_job)
    router.handler("effect", Job)(handlers.effect)
    settings = WorkerSettings(**place.settings)
    async with HttpSqsClient(place.endpoint_url) as client:
        yield Worker(client, place.queue_url, router, settings=settings)


async def work() -> None:
    """Work until SIGTERM."""
    async with worker() as made:
        await run_until_signalled(made)


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        uvloop.run(work())
    except ForebayError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
