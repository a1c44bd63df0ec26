"""Running what may run, and seeing to how each message ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from forebay.clock import Clock
from forebay.worker.breaker import CircuitBreaker, State
from forebay.worker.context import Spawn
from forebay.worker.execution import Execution
from forebay.worker.lease import Event, Lease
from forebay.worker.outcomes import Failed, Interrupted, Outcome, StillRunning
from forebay.worker.processing import Group, Job, Processing, group_of
from forebay.worker.settlement import Group as Following

_log = logging.getLogger(__name__)


class Jobs:
    """Takes jobs from the processing, as many at a time as it lets run.

    Each runs in a slot, a task that goes on with the next job. `spawn` starts tasks that end by
    themselves. `ran` is told of each job and of the seconds that it took, `changed` that something
    has ended that a receive or a drain may wait for, `idle` that nothing runs and nothing is ready.
    """

    def __init__(
        self,
        processing: Processing,
        execution: Execution,
        *,
        clock: Clock,
        spawn: Spawn,
        ran: Callable[[Job, float], None],
        changed: Callable[[], None],
        idle: Callable[[], None],
    ) -> None:
        self._processing = processing
        self._execution = execution
        self._clock = clock
        self._spawn = spawn
        self._ran = ran
        self._changed = changed
        self._idle = idle
        #: The slots whose handler runs.
        self._in_handler: set[asyncio.Task[None]] = set()
        self._slot_starting = False
        #: Messages whose handler goes on without a place.
        self._left: set[Lease] = set()

    @property
    def left(self) -> int:
        """Messages whose handler goes on without a place, and which are still ours."""
        return sum(not lease.has_ended for lease in self._left)

    def start(self) -> None:
        """Begin what may begin now. Call it whenever something has become ready.

        Each slot starts the next before it runs a handler. So slots appear as long as handlers keep
        those before them waiting, and handlers that never wait cost no task each.
        """
        alarms = self._processing.alarms
        if alarms:
            for at_ms in dict.fromkeys(alarms):
                self._spawn(self._ring(at_ms))
            alarms.clear()
        if self._processing.can_start and not self._slot_starting:
            self._slot_starting = True
            self._spawn(self._slot())

    def give_up_over(self, now_ms: int) -> None:
        """Wait no longer for handlers whose lease is over: their messages come again in any case.

        Otherwise a group would wait for ever for one that hangs.
        """
        for lease in [lease for lease in self._left if lease.is_over(now_ms)]:
            self._left.discard(lease)
            lease.step(Event.GIVEN_UP)
            _give_back(self._processing.follow(lease, now_ms, goes_back=True), {})

    def interrupt(self) -> None:
        """Cancel every handler that runs; each message ends as its handler leaves it."""
        for slot in self._in_handler:
            slot.cancel()

    async def _ring(self, at_ms: int) -> None:
        await self._clock.sleep(max(0, at_ms - self._clock.monotonic_ms()) / 1000)
        self._processing.ring(self._clock.monotonic_ms())
        self.start()

    async def _slot(self) -> None:
        self._slot_starting = False
        slot = cast("asyncio.Task[None]", asyncio.current_task())
        processing, clock = self._processing, self._clock
        while (job := processing.take(clock.monotonic_ms())) is not None:
            self.start()
            await self._run(job, slot)
            self._changed()
        self.start()
        if processing.is_idle:
            self._idle()
        self._changed()

    async def _run(self, job: Job, slot: asyncio.Task[None]) -> None:
        started_ms = self._clock.monotonic_ms()
        for lease in job.leases:
            lease.source.start(lease)
        outcomes = await self._outcomes(job, slot, started_ms)
        ended_ms = self._clock.monotonic_ms()
        self._ran(job, (ended_ms - started_ms) / 1000)
        if job.route is not None and job.route.breaker is not None:
            # A call counts once, as failed when one of its messages has failed.
            failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
            _record(
                job.route.breaker,
                (failures or outcomes)[0],
                started_ms=started_ms,
                now_ms=ended_ms,
            )
        await self._settle(job, outcomes)

    async def _outcomes(self, job: Job, slot: asyncio.Task[None], now_ms: int) -> Sequence[Outcome]:
        """Run the job's handler, and say how each of its messages ends."""
        if job.route is None:
            return self._unhandled(job)
        received = job.received
        late = {group_of(lease) or lease for lease in job.leases if lease.is_over(now_ms)}
        if late:
            received = [
                each
                for lease, each in zip(job.leases, received, strict=True)
                if (group_of(lease) or lease) not in late
            ]
            if not received:
                return [Interrupted()] * len(job.leases)
        self._in_handler.add(slot)
        try:
            outcomes = await self._execution.perform(job.route, received)
        finally:
            self._in_handler.discard(slot)
        if not late:
            return outcomes
        performed = iter(outcomes)
        return [
            Interrupted() if (group_of(lease) or lease) in late else next(performed)
            for lease in job.leases
        ]

    def _unhandled(self, job: Job) -> Sequence[Outcome]:
        """How messages end that no handler gets."""
        if isinstance(job.outcome, Failed):
            _log.error(
                "Message %s of %s failed before it came to a handler.",
                job.leases[0].message_id,
                job.leases[0].source.name,
                exc_info=job.outcome.error,
                extra=job.leases[0].log_fields,
            )
        return [cast("Outcome", job.outcome)] * len(job.leases)

    async def _settle(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Begin the end of each message, and let its group go on or go back."""
        processing = self._processing
        back: dict[Lease, int] = {}
        left: list[Lease] = []
        broken: set[Group | None] = set()
        for lease, outcome in zip(job.leases, outcomes, strict=True):
            source = lease.source
            if source.fifo and group_of(lease) in broken:
                # An earlier message goes back although its handler did not fail: it was rejected,
                # and there is no dead-letter queue.
                outcome = Interrupted()  # noqa: PLW2901 - the order of a group comes first
            followed = source.fifo and processing.is_followed(lease)
            settled = await source.settle(lease, outcome, followed=followed)
            if settled.group is Following.GOES_BACK:
                back[lease] = settled.delay_s
                broken.add(group_of(lease))
            elif settled.group is Following.WAITS:
                left.append(lease)
                self._wait_for(lease, cast("StillRunning", outcome))
        followers = processing.finish(job, self._clock.monotonic_ms(), back=back, left=left)
        if followers:
            _give_back(followers, {group_of(lease): delay_s for lease, delay_s in back.items()})

    def _wait_for(self, lease: Lease, running: StillRunning) -> None:
        """Settle a message again when its handler, which goes on without a place, ends."""
        self._left.add(lease)

        def ended(finished: asyncio.Future[Outcome]) -> None:
            waited_for = lease in self._left
            self._left.discard(lease)
            if waited_for and not finished.cancelled() and not lease.has_ended:
                self._spawn(self._settle_left(lease, finished.result()))

        running.finished.add_done_callback(ended)

    async def _settle_left(self, lease: Lease, outcome: Outcome) -> None:
        settled = await lease.source.settle(lease, outcome)
        goes_back = settled.group is Following.GOES_BACK
        followers = self._processing.follow(lease, self._clock.monotonic_ms(), goes_back=goes_back)
        _give_back(followers, {group_of(lease): settled.delay_s})
        self.start()
        self._changed()


def _record(breaker: CircuitBreaker, outcome: Outcome, *, started_ms: int, now_ms: int) -> None:
    """Let a breaker know of a call, and say when it opens first and when it closes again."""
    before = breaker.state(now_ms)
    breaker.record(outcome, started_ms=started_ms, now_ms=now_ms)
    after = breaker.state(now_ms)
    if (before, after) == (State.CLOSED, State.OPEN):
        _log.warning(
            "The %s is %s. %s is not received from until it is closed.",
            breaker.name,
            breaker.reason,
            ", ".join(sorted(breaker.queues)),
        )
    elif before is not after and after is State.CLOSED:
        _log.info("The %s is closed: calls have worked.", breaker.name)


def _give_back(followers: Sequence[Lease], delays_s: Mapping[Group | None, int]) -> None:
    """Let what waited behind a message that goes back go with it, each group in its order."""
    by_group: dict[Group | None, list[Lease]] = {}
    for lease in followers:
        by_group.setdefault(group_of(lease), []).append(lease)
    for group, leases in by_group.items():
        leases[0].source.release_all(leases, delays_s.get(group, 0))
