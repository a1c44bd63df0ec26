"""The worker: takes messages from one queue, runs their handlers, and accounts for each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, cast

from forebay.client.base import SqsClient
from forebay.clock import Clock, SystemClock
from forebay.errors import Closed, SettingsError
from forebay.protocol.actions import Message
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.worker.drain import CONFIRM_MS, Deadlines, DrainStep, Remaining, drain_step
from forebay.worker.execution import LeftRunning, execute
from forebay.worker.heartbeat import Heartbeat
from forebay.worker.lease import Lease
from forebay.worker.ledger import Ending, LedgerBook, WorkerLedger
from forebay.worker.outcomes import Reject, Retry
from forebay.worker.polling import Poller, Stock
from forebay.worker.processing import Processing
from forebay.worker.reject import Rejecter
from forebay.worker.routing import Router
from forebay.worker.settings import WorkerSettings
from forebay.worker.settlement import Settlement
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
        queue_url: str,
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
        self._queue_url = queue_url
        self._fifo = queue_url.endswith(FIFO_SUFFIX)
        self._router = router
        self._settings = settings = settings or WorkerSettings()
        self._clock = clock = clock or SystemClock()
        self._executor = executor
        self._book = LedgerBook()
        self._processing = Processing(settings.concurrency)
        self._poller = Poller(
            client,
            queue_url,
            settings,
            clock=clock,
            entropy=entropy,
            stock=self._stock,
            deliver=self._take_in,
        )
        self._heartbeat = Heartbeat(
            client,
            queue_url,
            visibility_timeout_s=settings.visibility_timeout_s,
            fraction=settings.heartbeat_fraction,
            clock=clock,
        )
        self._settlement = Settlement(
            client,
            queue_url,
            settings,
            processing=self._processing,
            heartbeat=self._heartbeat,
            rejecter=Rejecter(client, queue_url, dead_letter_queue_url),
            clock=clock,
            entropy=entropy,
            spawn=self._spawn,
            ended=self._ended,
        )
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
        return self._book.ledger()

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
        try:
            async with self._tasks as tasks:
                heartbeat = tasks.create_task(self._heartbeat.run())
                tasks.create_task(self._poll())
                await self._stop_requested.wait()
                self._poller.stop()
                await self._drain()
                heartbeat.cancel()
        finally:
            self._book.lose_all()
        ledger = self.ledger
        _log.info("The worker of %s has stopped: %s", self._queue_url, ledger)
        return ledger

    async def _poll(self) -> None:
        await self._poller.run()
        self._changed.set()

    def _stock(self) -> Stock:
        processing = self._processing
        return Stock(
            running=processing.running,
            ready=processing.ready,
            blocked=processing.blocked,
            unconfirmed=self._book.in_hand - processing.running - processing.waiting,
            handling_s=self._handling_s,
        )

    def _take_in(self, messages: list[Message], taken_ms: int) -> None:
        until_ms = taken_ms + self._settings.visibility_timeout_s * 1000
        for message in messages:
            group_id = (message.attributes or {}).get("MessageGroupId") if self._fifo else None
            lease = Lease(message, taken_ms, until_ms, group_id)
            self._book.receive(lease)
            self._heartbeat.hold(lease)
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
            self._poller.wake()
        if self._processing.is_idle:
            self._settlement.flush()
        self._changed.set()

    async def _handle(self, lease: Lease, slot: asyncio.Task[None]) -> None:
        started_ms = self._clock.monotonic_ms()
        try:
            if lease.is_over(started_ms):
                self._settlement.release(lease)
            else:
                await self._run_handler(lease, slot)
        except asyncio.CancelledError:
            if not self._given_up:
                raise
            self._settlement.release(lease)
        took_s = (self._clock.monotonic_ms() - started_ms) / 1000
        usual_s = took_s if self._handling_s is None else self._handling_s
        self._handling_s = usual_s + _LATEST_WEIGHT * (took_s - usual_s)

    async def _run_handler(self, lease: Lease, slot: asyncio.Task[None]) -> None:
        """Run one message's handler, and see to how the message ends.

        When this is cancelled, the message has not ended yet.
        """
        try:
            route, received = self._router.route(lease, self._queue_url)
            self._in_handler.add(slot)
            try:
                await execute(route, received, self._executor)
            finally:
                self._in_handler.discard(slot)
        except Reject as rejection:
            await self._settlement.reject(lease, str(rejection))
        except Retry as retry:
            self._settlement.retry(lease, retry.delay_s)
        except LeftRunning as left:
            _log.warning("Message %s of %s: %s", lease.message_id, self._queue_url, left)
            self._settlement.leave_hidden(lease)
        except Exception as error:
            _log.exception(
                "The handler of message %s of %s failed at receive %d.",
                lease.message_id,
                self._queue_url,
                lease.receive_count,
            )
            await self._settlement.fail(lease, error)
        else:
            self._settlement.acknowledge(lease)

    def _ended(self, lease: Lease, ending: Ending) -> None:
        self._book.end(lease, ending)
        self._poller.wake()
        self._changed.set()

    async def _drain(self) -> None:
        give_up_ms = self._clock.monotonic_ms() + round(self._settings.drain_timeout_s * 1000)
        deadlines = Deadlines(give_up_ms, give_up_ms + CONFIRM_MS)
        while True:
            self._changed.clear()
            if self._processing.is_idle:
                self._settlement.flush()
            now_ms = self._clock.monotonic_ms()
            if now_ms >= give_up_ms:
                self._processing.concurrency = 0
            step = drain_step(self._remaining(), deadlines, now_ms, given_up=self._given_up)
            if step is DrainStep.DONE:
                return
            if step is DrainStep.LEAVE:
                self._leave()
                return
            if step is DrainStep.GIVE_UP:
                self._give_up()
                deadlines = Deadlines(give_up_ms, now_ms + CONFIRM_MS)
            else:
                wait_ms = deadlines.wait_ms(now_ms)
                await wait_at_most(self._clock, wait_ms / 1000, self._changed)

    def _remaining(self) -> Remaining:
        return Remaining(
            polls=self._poller.polls,
            running=self._processing.running,
            waiting=self._processing.waiting,
            in_hand=self._book.in_hand,
        )

    def _give_up(self) -> None:
        self._given_up = True
        waiting = self._processing.give_up()
        _log.warning(
            "The drain of %s is at its deadline: %d waiting and %d running messages are given up.",
            self._queue_url,
            len(waiting),
            self._processing.running,
        )
        self._settlement.release_all(waiting)
        for slot in self._in_handler:
            slot.cancel()

    def _leave(self) -> None:
        for task in self._confirmations | self._slots:
            task.cancel()
        _log.error(
            "SQS has not confirmed the ending of %d messages of %s; they will be delivered again.",
            self._book.lose_all(),
            self._queue_url,
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        confirmation = self._tasks.create_task(coroutine)
        self._confirmations.add(confirmation)
        confirmation.add_done_callback(self._confirmations.discard)
