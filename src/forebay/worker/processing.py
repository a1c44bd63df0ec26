"""What may run now, of everything that was received. Pure: it runs nothing itself.

On a standard queue any message may run beside any other. On a FIFO queue a message waits until the
one before it in its message group is finished, and groups take turns. Messages for a batch handler
gather until there are enough or the first has waited long enough; a group's messages gather in
their order. What a limit holds back waits behind others of its key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from forebay.worker.lease import Lease
from forebay.worker.limits import Limiters, Place, places_of
from forebay.worker.outcomes import Failed, Reject
from forebay.worker.priority_buffer import PriorityBuffer
from forebay.worker.queue import Priority
from forebay.worker.received import Received
from forebay.worker.route import Route
from forebay.worker.source import Source

#: A message group of one of the queues.
Group: TypeAlias = tuple[Source, str]


class Job(Struct, eq=False):
    """What one place runs at a time: one message, or those of a batch."""

    priority: Priority
    leases: list[Lease]
    received: list[Received[Any]] = []
    #: None for messages that no handler gets.
    route: Route | None = None
    #: How such messages end.
    outcome: Reject | Failed | None = None
    #: What its limits count it under.
    places: tuple[Place, ...] = ()


class Processing:
    """The messages in hand that are not finished, at most `concurrency` jobs of them running.

    `concurrency` may change at any time. Below what runs, nothing starts until enough has ended.
    """

    def __init__(self, concurrency: int, buffer: PriorityBuffer[Job], limiters: Limiters) -> None:
        self.concurrency = concurrency
        #: Jobs whose handler runs, and their messages.
        self.running = 0
        self.running_messages = 0
        #: Messages that wait behind another of their group.
        self.blocked = 0
        #: When `ring` is to be called. Whoever calls it takes the times out of here.
        self.alarms: list[int] = []
        self._waiting = dict.fromkeys(Priority, 0)
        self._buffer = buffer
        self._limiters = limiters
        #: Jobs that were taken out of the buffer and may run once their limits let them.
        self._again: deque[Job] = deque()
        self._parked: dict[Place, deque[Job]] = {}
        self._gathering: dict[tuple[Route, Priority], Job] = {}
        self._closes_at_ms: dict[tuple[Route, Priority], int] = {}
        #: What waits behind the message of a group that is ready or runs. A group is here exactly
        #: as long as it has such a message.
        self._behind: dict[Group, deque[Job]] = {}
        #: The batch that gathers, for a group whose messages are in it.
        self._open: dict[Group, Job] = {}

    @property
    def waiting(self) -> int:
        """Messages that have not started."""
        return sum(self._waiting.values())

    def waiting_of(self, priority: Priority) -> int:
        """Messages of a class that have not started."""
        return self._waiting[priority]

    @property
    def ready(self) -> int:
        """Jobs that wait for nothing but a free place."""
        return len(self._buffer) + len(self._again)

    @property
    def is_idle(self) -> bool:
        return not self.running and not self.ready

    @property
    def can_start(self) -> bool:
        """Whether `take` may return a job."""
        return self.running < self.concurrency and bool(self._buffer or self._again)

    def add(self, job: Job, now_ms: int) -> None:
        """Take in a message. Those of one group must come in order of sequence."""
        self._waiting[job.priority] += 1
        group = group_of(job.leases[0])
        if group is not None:
            behind = self._behind.get(group)
            if behind is not None:
                if behind or not self._join(job, group, now_ms):
                    behind.append(job)
                    self.blocked += 1
                return
            self._behind[group] = deque()
        self._become_ready(job, now_ms)

    def take(self, now_ms: int) -> Job | None:
        """The job to run now; None when nothing may start. End it with `finish`."""
        while self.running < self.concurrency:
            first = bool(self._again)
            job = self._again.popleft() if first else self._buffer.pop(now_ms)
            if job is None:
                return None
            if job.places and not self._may_start(job, now_ms, first=first):
                continue
            self.running += 1
            self.running_messages += len(job.leases)
            self._waiting[job.priority] -= len(job.leases)
            return job
        return None

    def finish(
        self,
        job: Job,
        now_ms: int,
        *,
        back: Collection[Lease] = (),
        left: Collection[Lease] = (),
    ) -> list[Lease]:
        """The place of a running job is free.

        Of its messages, `back` go back to their queue, and the handlers of `left` go on without a
        place: see `follow`. The next message of any other group may run. What waits behind a
        message that goes back must go back as well: it is returned, in order, and no longer in hand
        here.
        """
        self.running -= 1
        self.running_messages -= len(job.leases)
        if job.places:
            self._free(job.places)
        groups = {group: False for lease in job.leases if (group := group_of(lease)) is not None}
        if not groups:
            return []
        for lease in left:
            if (group := group_of(lease)) is not None:
                groups.pop(group, None)
        for lease in back:
            if (group := group_of(lease)) in groups:
                groups[group] = True
        followers: list[Lease] = []
        for group, goes_back in groups.items():
            followers += self._end_turn(group, now_ms, goes_back=goes_back)
        return followers

    def follow(self, lease: Lease, now_ms: int, *, goes_back: bool) -> list[Lease]:
        """A handler that went on without its place has ended: what must go back with its message.

        Otherwise the next message of its group may run.
        """
        group = group_of(lease)
        return [] if group is None else self._end_turn(group, now_ms, goes_back=goes_back)

    def is_followed(self, lease: Lease) -> bool:
        """Whether another message of its group waits behind a running one."""
        group = group_of(lease)
        return group is not None and bool(self._behind[group])

    def ring(self, now_ms: int) -> None:
        """Close the batches whose time is over, and try again what a rate has held back."""
        for key, closes_at_ms in list(self._closes_at_ms.items()):
            if closes_at_ms <= now_ms:
                self._close(key, now_ms)
        self._unpark_all()

    def close_batches(self, now_ms: int) -> None:
        """Let every batch run as it is: nothing more comes."""
        for key in list(self._gathering):
            self._close(key, now_ms)

    def give_up(self) -> list[Lease]:
        """Everything that has not started, each group in order. It is no longer in hand here."""
        heads = [*self._again, *self._buffer.drain()]
        for parked in self._parked.values():
            heads.extend(parked)
        heads.extend(self._gathering.values())
        abandoned: list[Lease] = []
        self._forget(heads, abandoned)
        for lease in abandoned:
            group = group_of(lease)
            if group is not None and group in self._behind:
                self._forget(self._behind.pop(group), abandoned)
        for behind in self._behind.values():
            self._forget(behind, abandoned)
            behind.clear()
        self.blocked = 0
        for held in (self._again, self._parked, self._gathering, self._closes_at_ms, self._open):
            held.clear()
        return abandoned

    def _forget(self, jobs: Iterable[Job], leases: list[Lease]) -> None:
        for job in jobs:
            self._waiting[job.priority] -= len(job.leases)
            leases.extend(job.leases)

    def _become_ready(self, job: Job, now_ms: int) -> None:
        route = job.route
        if route is None or not route.batch:
            self._push(job, now_ms)
            return
        key = (route, job.priority)
        batch = self._gathering.get(key)
        if batch is None:
            batch = self._gathering[key] = job
            closes_at_ms = self._closes_at_ms[key] = now_ms + route.within_ms
            self.alarms.append(closes_at_ms)
        else:
            batch.leases += job.leases
            batch.received += job.received
        group = group_of(job.leases[0])
        if group is not None:
            self._open[group] = batch
        if len(batch.leases) >= route.batch:
            self._close(key, now_ms)

    def _join(self, job: Job, group: Group, now_ms: int) -> bool:
        """Put a message into the batch that its group's earlier ones gather in, if there is one."""
        batch = self._open.get(group)
        if batch is None or batch.route is not job.route or batch.priority is not job.priority:
            return False
        self._become_ready(job, now_ms)
        return True

    def _close(self, key: tuple[Route, Priority], now_ms: int) -> None:
        batch = self._gathering.pop(key)
        del self._closes_at_ms[key]
        for lease in batch.leases:
            group = group_of(lease)
            if group is not None:
                self._open.pop(group, None)
        self._push(batch, now_ms)

    def _push(self, job: Job, now_ms: int) -> None:
        route = job.route
        if route is not None and (route.limits or route.breaker is not None):
            try:
                job.places = places_of(route.limits, route.breaker, job.received)
            except Exception as error:
                # The key of a limit is a function of the user's, and its failure the message's.
                job.route, job.outcome = None, Failed(error)
        self._buffer.push(job, job.priority, now_ms, place_kept=True)

    def _end_turn(self, group: Group, now_ms: int, *, goes_back: bool) -> list[Lease]:
        behind = self._behind[group]
        if goes_back or not behind:
            del self._behind[group]
            self.blocked -= len(behind)
            followers: list[Lease] = []
            self._forget(behind, followers)
            return followers
        self.blocked -= 1
        self._become_ready(behind.popleft(), now_ms)
        while behind and self._join(behind[0], group, now_ms):
            behind.popleft()
            self.blocked -= 1
        return []

    def _may_start(self, job: Job, now_ms: int, *, first: bool) -> bool:
        """Count the job under its limits, or park it behind others of the key that is full.

        `first` has waited for that already, and comes before those others.
        """
        for place in job.places:
            parked = self._parked.get(place)
            if parked and not first:
                parked.append(job)
                return False
            wait_ms = self._limiters.wait_ms(place, now_ms)
            if wait_ms == 0:
                continue
            if wait_ms is not None:
                self.alarms.append(now_ms + wait_ms)
            if parked is None:
                parked = self._parked[place] = deque()
            parked.appendleft(job)
            for other in job.places:
                # Whatever woke it is for the next one, where it is free.
                if other is not place and self._limiters.wait_ms(other, now_ms) == 0:
                    self._unpark(other)
            return False
        for place in job.places:
            self._limiters.started(place, now_ms)
            # The limit may let several start at a time.
            self._unpark(place)
        return True

    def _free(self, places: Sequence[Place]) -> None:
        for place in places:
            self._limiters.ended(place)
            self._unpark(place)

    def _unpark_all(self) -> None:
        for place in list(self._parked):
            self._unpark(place)

    def _unpark(self, place: Place) -> None:
        parked = self._parked.get(place)
        if parked:
            self._again.append(parked.popleft())
        if not parked:
            self._parked.pop(place, None)


def group_of(lease: Lease) -> Group | None:
    """The group whose order holds; None on a standard queue, where none does."""
    group_id = lease.group_id
    return None if group_id is None else (lease.source, group_id)
