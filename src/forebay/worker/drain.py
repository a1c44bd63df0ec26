"""Stopping without leaving a message hidden.

The drain, from the moment of `stop`:

1. No receive starts. Those in flight are awaited: SQS may have handed out their messages already.
2. What is in hand runs to its end. Batches that gather run as they are.
3. From the deadline on no handler starts. Once no receive is in flight, the rest is given up:
   waiting messages become visible again, running handlers are cancelled and their messages become
   visible too. Any sooner, a receive in flight would bring the same messages back.
4. A plain function cannot be cancelled. Its message is kept hidden and acknowledged when it ends,
   for as long as `thread_timeout_s`; otherwise its effect would happen twice although the process
   waits for its thread in any case.
5. Deletions and releases under way get a last while to be confirmed; what is not confirmed then is
   counted as lost.
6. The ledger is written: every message received is in one of its places.

A stop that is to be at once begins with the third step.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from forebay.clock import Clock
from forebay.stop_signals import StopRequests, stop_signals
from forebay.worker.jobs import Jobs
from forebay.worker.lease import Lease
from forebay.worker.polling import Polling
from forebay.worker.processing import Processing
from forebay.worker.services import Services
from forebay.worker.settings import WorkerSettings
from forebay.worker.source import Source
from forebay.worker.waiting import wait_at_most

if TYPE_CHECKING:
    from forebay.worker.ledger import WorkerLedger
    from forebay.worker.worker import Worker

_log = logging.getLogger(__name__)

#: How long deletions and releases may take to be confirmed after the deadline, in milliseconds.
CONFIRM_MS = 5_000


class DrainStep(Enum):
    """What a drain does next."""

    #: Nothing but wait for something to end, or for the next deadline.
    WAIT = auto()
    #: Stop what runs, give back what waits.
    GIVE_UP = auto()
    #: Count what SQS has not confirmed as lost and leave.
    LEAVE = auto()
    DONE = auto()


class Remaining(Struct, frozen=True, kw_only=True):
    """What a draining worker still has to do."""

    #: Receives in flight.
    polls: int = 0
    #: Jobs whose handler runs, and messages that have not started.
    running: int = 0
    waiting: int = 0
    #: Messages whose handler goes on without a place, and which are still ours.
    left: int = 0
    #: Messages whose ending SQS has not confirmed, all of those included.
    in_hand: int = 0


class Deadlines(Struct, frozen=True, kw_only=True):
    """When a drain takes its later steps, in monotonic milliseconds."""

    give_up_ms: int
    #: Until when plain functions are waited for.
    threads_ms: int
    leave_ms: int

    @classmethod
    def after(cls, drain_timeout_s: float, thread_timeout_s: float, now_ms: int) -> Deadlines:
        """Those of a drain that begins now."""
        give_up_ms = now_ms + round(drain_timeout_s * 1000)
        return cls(
            give_up_ms=give_up_ms,
            threads_ms=give_up_ms + round(thread_timeout_s * 1000),
            leave_ms=give_up_ms + CONFIRM_MS,
        )

    def at_once(self, now_ms: int) -> Deadlines:
        """Those of a drain that waits no longer for any handler."""
        return Deadlines(
            give_up_ms=min(self.give_up_ms, now_ms),
            threads_ms=min(self.threads_ms, now_ms),
            leave_ms=min(self.leave_ms, now_ms + CONFIRM_MS),
        )

    def given_up(self, now_ms: int) -> Deadlines:
        """Those that are left after giving up now."""
        return replace(self, leave_ms=now_ms + CONFIRM_MS)

    def wait_ms(self, now_ms: int) -> int:
        """How long until the next of them; when all are past, until it is worth looking again."""
        times_ms = (self.give_up_ms, self.threads_ms, self.leave_ms)
        return min((at_ms - now_ms for at_ms in times_ms if at_ms > now_ms), default=CONFIRM_MS)


def drain_step(
    remaining: Remaining, deadlines: Deadlines, now_ms: int, *, given_up: bool
) -> DrainStep:
    """What to do now. Receives in flight are always awaited; the client bounds their time."""
    if remaining.polls:
        return DrainStep.WAIT
    if not remaining.in_hand:
        return DrainStep.DONE
    if not given_up and now_ms >= deadlines.give_up_ms and (remaining.running or remaining.waiting):
        return DrainStep.GIVE_UP
    if remaining.left and now_ms < deadlines.threads_ms:
        return DrainStep.WAIT
    if remaining.left == remaining.in_hand:
        return DrainStep.LEAVE
    if remaining.left == remaining.in_hand:
        # Nothing is under way that could be confirmed.
        return DrainStep.LEAVE
    return DrainStep.LEAVE if now_ms >= deadlines.leave_ms else DrainStep.WAIT


class Drain:
    """Takes a worker through the steps, from the moment that no receive starts any more."""

    def __init__(
        self,
        names: str,
        services: Services,
        processing: Processing,
        jobs: Jobs,
        polling: Polling,
        *,
        settings: WorkerSettings,
        clock: Clock,
        changed: asyncio.Event,
    ) -> None:
        self._names = names
        self._services = services
        self._processing = processing
        self._jobs = jobs
        self._polling = polling
        self._clock = clock
        self._changed = changed
        self._deadlines = Deadlines.after(
            settings.drain_timeout_s, settings.thread_timeout_s, clock.monotonic_ms()
        )
        self._given_up = False

    def hurry(self) -> None:
        """Wait no longer for any handler."""
        self._deadlines = self._deadlines.at_once(self._clock.monotonic_ms())

    async def run(self) -> None:
        """Return once everything in hand has ended, or has been given up."""
        while True:
            self._changed.clear()
            now_ms = self._clock.monotonic_ms()
            if not self._polling.polls:
                self._processing.close_batches(now_ms)
                self._jobs.start()
            if self._processing.is_idle:
                self._services.flush()
            if now_ms >= self._deadlines.give_up_ms:
                self._processing.concurrency = 0
            self._jobs.give_up_over(now_ms)
            remaining = self._remaining()
            if remaining.left and now_ms < self._deadlines.threads_ms:
                # What such a function has done is yet to be confirmed when it ends.
                self._deadlines = self._deadlines.given_up(now_ms)
            match drain_step(remaining, self._deadlines, now_ms, given_up=self._given_up):
                case DrainStep.DONE:
                    return
                case DrainStep.LEAVE:
                    self._leave()
                    return
                case DrainStep.GIVE_UP:
                    self._give_up()
                    self._deadlines = self._deadlines.given_up(now_ms)
                case DrainStep.WAIT:
                    wait_ms = self._deadlines.wait_ms(now_ms)
                    await wait_at_most(self._clock, wait_ms / 1000, self._changed)

    def _remaining(self) -> Remaining:
        return Remaining(
            polls=self._polling.polls,
            running=self._processing.running,
            waiting=self._processing.waiting,
            left=self._jobs.left,
            in_hand=self._services.in_hand,
        )

    def _give_up(self) -> None:
        self._given_up = True
        waiting = self._processing.give_up()
        _log.warning(
            "The drain of %s waits no longer: %d waiting and %d running messages are given back.",
            self._names,
            len(waiting),
            self._processing.running_messages,
        )
        by_source: dict[Source, list[Lease]] = {}
        for lease in waiting:
            by_source.setdefault(lease.source, []).append(lease)
        for source, leases in by_source.items():
            source.release_all(leases)
        self._jobs.interrupt()

    def _leave(self) -> None:
        _log.error(
            "SQS has not confirmed the ending of %d messages of %s, or their handlers still run;"
            " they will be delivered again.",
            self._services.lose_all(),
            self._names,
        )


async def run_until_signalled(*workers: Worker) -> list[WorkerLedger]:
    """Run workers until SIGTERM or SIGINT, drain them, and return their ledgers in order.

    A second signal ends the drain at once: what has not ended is given back. A third one acts as it
    did before this was called. SIGINT stops nothing in a process that was started to ignore it, as
    a script starts its background commands. When one worker fails, the others drain before its
    error is raised.
    """
    loop = asyncio.get_running_loop()
    signals = stop_signals()
    requests = StopRequests()

    def stop_all() -> None:
        if not requests.heard(loop.time()):
            return
        again = requests.count > 1
        if again:
            restore()
        for worker in workers:
            worker.stop(now=again)

    def restore() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, stop_all)
    runs = [asyncio.ensure_future(worker.run()) for worker in workers]
    try:
        await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
        for worker in workers:
            worker.stop()
        await asyncio.wait(runs)
    finally:
        restore()
        for run in runs:
            run.cancel()
    return await asyncio.gather(*runs)
