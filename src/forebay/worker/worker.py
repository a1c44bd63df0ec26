"""The worker: takes messages from one queue, runs their handlers, and accounts for each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, cast

from msgspec.structs import replace

from forebay.client.base import SqsClient
from forebay.clock import Clock, SystemClock
from forebay.errors import Closed, SettingsError
from forebay.protocol.actions import Message
from forebay.worker.context import Context
from forebay.worker.drain import CONFIRM_MS, Deadlines, DrainStep, Remaining, drain_step
from forebay.worker.execution import LeftRunning, execute
from forebay.worker.lease import Event, Lease
from forebay.worker.ledger import WorkerLedger
from forebay.worker.loop_watch import LoopWatch
from forebay.worker.outcomes import Done, Failed, Interrupted, Outcome, Reject, Retry
from forebay.worker.polling import Poller, Stock
from forebay.worker.processing import Processing
from forebay.worker.queue import Queue
from forebay.worker.routing import Router
from forebay.worker.settings import WorkerSettings
from forebay.worker.settlement import Group
from forebay.worker.source import Source
from forebay.worker.waiting import wait_at_most

_log = logging.getLogger(__name__)

#: The weight of the latest handler in the usual time of one.
_LATEST_WEIGHT = 0.1


class Worker:
    """Runs the handlers of a router on the messages of one queue.

    Each message received ends in exactly one place of the ledger. A handler that returns has its
    message deleted; see Reject and Retry for the rest. Any other exception is logged, and the
    message becomes visible again after a delay that grows with its receives, so that the queue's
    redrive policy moves it to the dead-letter queue at last. On a FIFO queue the messages behind it
    go back with it, and its group waits.

    `executor` runs handlers that are plain functions. Raises SettingsError when the router has such
    handlers and there is none.
    """

    def __init__(
        self,
        client: SqsClient,
        queue: str | Queue,
        router: Router,
        *,
        settings: WorkerSettings | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        dead_letter_queue_url: str | None = None,
        executor: Executor | None = None,
    ) -> None:
        if executor is None and router.needs_executor():
            raise SettingsError(
                "A handler is a plain function. Make it async, or pass an executor to run it in."
            )
        self._queue = (
            Queue(queue, dead_letter_queue=dead_letter_queue_url)
            if isinstance(queue, str)
            else queue
        )
        self._router = router
        self._settings = settings = settings or WorkerSettings()
        self._clock = clock = clock or SystemClock()
        self._executor = executor
        self._processing = Processing(settings.concurrency)
        self._context = Context(
            client=client,
            settings=settings,
            clock=clock,
            entropy=entropy,
            spawn=self._spawn,
            changed=self._on_change,
            loop_watch=LoopWatch(clock),
        )
        #: Both are there once the queue is found.
        self._source: Source | None = None
        self._poller: Poller | None = None
        self._tasks = asyncio.TaskGroup()
        #: Deletions and releases that SQS has not confirmed.
        self._confirmations: set[asyncio.Task[None]] = set()
        self._slots: set[asyncio.Task[None]] = set()
        #: The slots whose handler runs.
        self._in_handler: set[asyncio.Task[None]] = set()
        self._slot_starting = False
        self._handling_s: float | None = None
        self._started = False
        self._given_up = False
        self._stop_requested = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def ledger(self) -> WorkerLedger:
        """Where every message received so far has gone."""
        return WorkerLedger() if self._source is None else self._source.ledger

    def stop(self) -> None:
        """Begin the drain; `run` returns at its end. Call it in the event loop's thread."""
        self._stop_requested.set()

    async def run(self) -> WorkerLedger:
        """Work until `stop`, drain, and return the ledger.

        Cancelling it abandons the receives in flight, whose messages then stay hidden until their
        visibility timeout; prefer `stop`. Raises Closed when called a second time.
        """
        if self._started:
            raise Closed
        self._started = True
        source = await self._open()
        if source is None:
            return self.ledger
        settings = replace(self._settings, visibility_timeout_s=source.visibility_timeout_s)
        self._source = source
        self._poller = poller = Poller(
            self._context.client,
            source.url,
            settings,
            clock=self._clock,
            entropy=self._context.entropy,
            stock=lambda: self._stock(source),
            deliver=lambda messages, taken_ms: self._take_in(source, messages, taken_ms),
        )
        try:
            async with self._tasks as tasks:
                heartbeat = tasks.create_task(source.run_heartbeat())
                tasks.create_task(self._poll(poller))
                await self._stop_requested.wait()
                poller.stop()
                await self._drain(source, poller)
                heartbeat.cancel()
        finally:
            source.lose_all()
        _log.info("The worker of %s has stopped: %s", source.url, self.ledger)
        return self.ledger

    async def _open(self) -> Source | None:
        """The queue; None when the worker was stopped before it was found."""
        opening = asyncio.ensure_future(Source.open(self._context, self._queue))
        stopping = asyncio.ensure_future(self._stop_requested.wait())
        try:
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            return None if stopping.done() else await opening
        finally:
            opening.cancel()
            stopping.cancel()

    async def _poll(self, poller: Poller) -> None:
        await poller.run()
        self._changed.set()

    def _stock(self, source: Source) -> Stock:
        processing = self._processing
        return Stock(
            running=processing.running,
            ready=processing.ready,
            blocked=processing.blocked,
            unconfirmed=source.in_hand - processing.running - processing.waiting,
            handling_s=self._handling_s,
        )

    def _take_in(self, source: Source, messages: list[Message], taken_ms: int) -> None:
        for lease in source.take_in(messages, taken_ms):
            self._processing.add(lease)
        self._start_slot()

    def _start_slot(self) -> None:
        """Start a task that handles messages, if one could start now.

        Each slot starts the next before it runs a handler. So slots appear as long as handlers keep
        those before them waiting, and handlers that never wait cost no task each.
        """
        if self._processing.can_start and not self._slot_starting:
            self._slot_starting = True
            slot = self._tasks.create_task(self._slot())
            self._slots.add(slot)
            slot.add_done_callback(self._slots.discard)

    async def _slot(self) -> None:
        self._slot_starting = False
        slot = cast("asyncio.Task[None]", asyncio.current_task())
        while (lease := self._processing.take()) is not None:
            self._start_slot()
            await self._handle(lease, slot)
            if self._processing.is_idle:
                lease.source.flush()
            self._on_change()

    async def _handle(self, lease: Lease, slot: asyncio.Task[None]) -> None:
        started_ms = self._clock.monotonic_ms()
        if lease.is_over(started_ms):
            outcome: Outcome = Interrupted()
        else:
            outcome = await self._outcome(lease, slot)
        followed = self._processing.is_followed(lease)
        settled = await lease.source.settle(lease, outcome, followed=followed)
        if settled.group is Group.GOES_ON:
            self._processing.finish(lease)
        else:
            lease.source.release_all(self._processing.fail(lease), settled.delay_s)
        took_s = (self._clock.monotonic_ms() - started_ms) / 1000
        usual_s = took_s if self._handling_s is None else self._handling_s
        self._handling_s = usual_s + _LATEST_WEIGHT * (took_s - usual_s)

    async def _outcome(self, lease: Lease, slot: asyncio.Task[None]) -> Outcome:
        """Run one message's handler, and say how it ended."""
        try:
            route, received = self._router.route(lease, lease.source.url)
            lease.source.start(lease)
            self._in_handler.add(slot)
            try:
                await execute(route, received, self._executor)
            finally:
                self._in_handler.discard(slot)
        except asyncio.CancelledError:
            if not self._given_up:
                raise
            return Interrupted()
        except (Reject, Retry) as outcome:
            return outcome
        except LeftRunning as left:
            _log.warning("Message %s of %s: %s", lease.message_id, lease.source.url, left)
            lease.step(Event.GIVEN_UP)
            return Interrupted()
        except Exception as error:
            _log.exception(
                "The handler of message %s of %s failed at receive %d.",
                lease.message_id,
                lease.source.url,
                lease.receive_count,
            )
            return Failed(error)
        return Done()

    def _on_change(self) -> None:
        if self._poller is not None:
            self._poller.wake()
        self._changed.set()

    async def _drain(self, source: Source, poller: Poller) -> None:
        give_up_ms = self._clock.monotonic_ms() + round(self._settings.drain_timeout_s * 1000)
        deadlines = Deadlines(give_up_ms, give_up_ms + CONFIRM_MS)
        while True:
            self._changed.clear()
            if self._processing.is_idle:
                source.flush()
            now_ms = self._clock.monotonic_ms()
            if now_ms >= give_up_ms:
                self._processing.concurrency = 0
            remaining = Remaining(
                polls=poller.polls,
                running=self._processing.running,
                waiting=self._processing.waiting,
                in_hand=source.in_hand,
            )
            step = drain_step(remaining, deadlines, now_ms, given_up=self._given_up)
            if step is DrainStep.DONE:
                return
            if step is DrainStep.LEAVE:
                self._leave(source)
                return
            if step is DrainStep.GIVE_UP:
                self._give_up(source)
                deadlines = Deadlines(give_up_ms, now_ms + CONFIRM_MS)
            else:
                wait_ms = deadlines.wait_ms(now_ms)
                await wait_at_most(self._clock, wait_ms / 1000, self._changed)

    def _give_up(self, source: Source) -> None:
        self._given_up = True
        waiting = self._processing.give_up()
        _log.warning(
            "The drain of %s is at its deadline: %d waiting and %d running messages are given up.",
            source.url,
            len(waiting),
            self._processing.running,
        )
        source.release_all(waiting)
        for slot in self._in_handler:
            slot.cancel()

    def _leave(self, source: Source) -> None:
        for task in self._confirmations | self._slots:
            task.cancel()
        _log.error(
            "SQS has not confirmed the ending of %d messages of %s; they will be delivered again.",
            source.lose_all(),
            source.url,
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        confirmation = self._tasks.create_task(coroutine)
        self._confirmations.add(confirmation)
        confirmation.add_done_callback(self._confirmations.discard)
