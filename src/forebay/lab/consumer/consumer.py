"""The consumer of document 001: a worker with one handler, and what ends it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack

from msgspec import Struct

from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError
from forebay.lab.consumer.clients import WithoutDelete, WithoutHeartbeat
from forebay.lab.consumer.crashes import Crashes, Leave
from forebay.lab.consumer.effects import Effects
from forebay.lab.consumer.entities import Entities
from forebay.lab.consumer.handling import Handling
from forebay.lab.consumer.lines import require_appendable
from forebay.lab.consumer.protections import check_protections
from forebay.lab.consumer.settings import ConsumerSettings
from forebay.lab.consumer.steps import Note, logged
from forebay.lab.consumer.tables import Tables, open_tables
from forebay.lab.outside.client import OutsideClient
from forebay.worker import (
    Received,
    Router,
    Worker,
    WorkerLedger,
    WorkerSettings,
    run_until_signalled,
)

#: How a process ends that SIGTERM kills, as a shell has it.
_TERMINATED = 128 + signal.SIGTERM

#: How long the queue is looked for at least, however short the time without messages is, in
#: milliseconds: a machine that is slow to start is no outage.
_FIND_MS = 20_000

_log = logging.getLogger(__name__)


class Unanswered(ForebayError):
    """Nothing came, because SQS has answered nothing."""


class Consumed(Struct, frozen=True, kw_only=True):
    """What a consumer has done when it ends."""

    #: Messages that were processed: each came to its end here, duplicates included.
    processed: int
    ledger: WorkerLedger


async def consume(
    settings: ConsumerSettings,
    *,
    client: SqsClient | None = None,
    tables: Tables | None = None,
    clock: Clock | None = None,
    without: Collection[str] = (),
    note: Note = lambda _: None,
    seed: int | str | None = None,
    caller: str = "",
    leave: Leave = os._exit,
) -> Consumed:
    """Consume until a signal says to stop, a limit is reached or nothing comes any more.

    SIGTERM and SIGINT drain: what is in hand is done or given back. Without a `client` it makes
    one of its own, and without `tables` it opens those that the settings name. All of its times
    pass by `clock`. `without` names PROTECTIONS that are off. `note` is told every step. `seed` is
    for CRASH_RATE. `caller` is its name for the outside service. `leave` is how it crashes.

    Raises SettingsError for what cannot be, a file of lines that cannot be appended to included;
    StoreError when a table cannot be opened, Unanswered when nothing came because SQS did not
    answer, and what `Worker.run` raises.
    """
    off = check_protections(without)
    note = logged(note)
    clock = clock or SystemClock()
    for variable, path in settings.logs.items():
        require_appendable(variable, path)
    async with AsyncExitStack() as stack:
        if tables is None:
            tables = await stack.enter_async_context(open_tables(settings))
        if client is None:
            client = await stack.enter_async_context(HttpSqsClient(region=settings.aws_region))
        outside = None
        if settings.outside_url is not None:
            outside = await stack.enter_async_context(
                OutsideClient(settings.outside_url, clock, caller=caller)
            )
        consumer = Consumer(
            settings,
            tables,
            client=client,
            clock=clock,
            without=off,
            note=note,
            outside=outside,
            crashes=Crashes(settings, seed=seed, note=note, leave=leave),
        )
        return await consumer.run(leave)


class Consumer:
    """One consumer at work."""

    def __init__(
        self,
        settings: ConsumerSettings,
        tables: Tables,
        *,
        client: SqsClient,
        clock: Clock,
        without: frozenset[str],
        note: Note,
        outside: OutsideClient | None,
        crashes: Crashes,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._without = without
        self._processed = 0
        #: Whether it ends because nothing came, and without having found its queue.
        self._idle = self._lost = False
        self._active_ms = clock.monotonic_ms()
        effects = Effects(
            settings, tables, crashes, clock=clock, note=note, outside=outside, without=without
        )
        entities = None
        if settings.versioning_enabled:
            assert tables.versions is not None, "open_tables opens it"
            entities = Entities(
                settings, tables.versions, crashes, clock=clock, note=note, without=without
            )
        self._handling = Handling(
            settings,
            tables,
            effects,
            entities,
            crashes,
            client=client,
            clock=clock,
            note=note,
            without=without,
        )
        if "delete" in without:
            client = WithoutDelete(client)
        if "heartbeat" in without:
            client = WithoutHeartbeat(client)
        self._worker = Worker(
            client,
            settings.queue_url,
            self._router(),
            settings=WorkerSettings(
                concurrency=1,
                pollers=1,
                batch=settings.max_messages,
                buffer_medium=settings.max_messages,
                wait_s=_wait_s(settings),
            ),
            permits=[_OneReceiveAtATime(self._room)],
            clock=clock,
        )

    async def run(self, leave: Leave) -> Consumed:
        watching = asyncio.create_task(self._stop_when_idle())
        try:
            ledger = await self._work(leave)
        finally:
            watching.cancel()
        if self._idle:
            self._require_answered()
        return Consumed(processed=self._processed, ledger=ledger)

    def _require_answered(self) -> None:
        idle_s = self._settings.idle_timeout_seconds
        if self._lost:
            raise Unanswered("The queue could not be found: no SQS has answered.")
        for queue in self._worker.snapshot().queues:
            # One that fails at the very end, after others that brought nothing, is no outage.
            if queue.trouble and (queue.answered_ago_s or math.inf) > idle_s / 2:
                raise Unanswered(f"Receives are not answered any more. {queue.trouble}")

    async def _work(self, leave: Leave) -> WorkerLedger:
        if "drain" not in self._without:
            (ledger,) = await run_until_signalled(self._worker)
            return ledger
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave, _TERMINATED)
        return await self._worker.run()

    def _router(self) -> Router:
        router = Router()
        if "partial-batch" in self._without:
            router.default(batch=self._settings.max_messages)(self._handle_together)
        else:
            router.default(self._handle)
        return router

    async def _handle(self, received: Received[str]) -> None:
        await self._handling.handle(received)
        self._ended(1)

    async def _handle_together(self, batch: list[Received[str]]) -> None:
        """Handle messages as a whole: what one of them raises holds for all."""
        for received in batch:
            await self._handling.handle(received)
        self._ended(len(batch))

    def _ended(self, count: int) -> None:
        self._active_ms = self._clock.monotonic_ms()
        self._processed += count
        limit = self._settings.message_limit
        if limit and self._processed >= limit:
            _log.info("%s processed, as MESSAGE_LIMIT says.", messages_were(self._processed))
            self._worker.stop()

    def _room(self) -> int:
        """How many messages may be received now: none while one is in hand."""
        if self._worker.ledger.in_hand:
            return 0
        limit = self._settings.message_limit
        most = self._settings.max_messages
        return min(most, max(0, limit - self._processed)) if limit else most

    async def _stop_when_idle(self) -> None:
        timeout_ms = math.ceil(self._settings.idle_timeout_seconds * 1000)
        if not timeout_ms:
            return
        # Whether the queue is not found yet, though it was looked for as long as nothing may come.
        late = False
        while True:
            now_ms = self._clock.monotonic_ms()
            looks = self._worker.snapshot().state == "starting"
            if self._worker.ledger.in_hand or (late and not looks):
                self._active_ms = now_ms
            patience_ms = max(timeout_ms, _FIND_MS) if looks else timeout_ms
            late = looks and now_ms >= self._active_ms + timeout_ms
            left_ms = self._active_ms + patience_ms - now_ms
            if left_ms <= 0:
                _log.info(
                    "No message has come for %g s, as IDLE_TIMEOUT_SECONDS says.",
                    self._settings.idle_timeout_seconds,
                )
                self._idle = True
                self._lost = looks
                self._worker.stop()
                return
            await self._clock.sleep(min(left_ms, timeout_ms) / 1000)


def _wait_s(settings: ConsumerSettings) -> int:
    """How long a receive waits: no longer than nothing may come, since its end is awaited."""
    idle_s = settings.idle_timeout_seconds
    return (
        min(settings.wait_time_seconds, math.ceil(idle_s)) if idle_s else settings.wait_time_seconds
    )


def messages_were(count: int) -> str:
    """The beginning of a sentence about so many messages."""
    return "1 message was" if count == 1 else f"{count:,} messages were"


class _OneReceiveAtATime:
    """Holds the next receive back until all that came with the last is done with."""

    name = "messages in hand"
    queues = None
    reason = "a message is in hand"

    def __init__(self, room: Callable[[], int]) -> None:
        self._room = room

    def free(self, now_ms: int) -> int:  # noqa: ARG002 - a permit is told the time
        return self._room()
