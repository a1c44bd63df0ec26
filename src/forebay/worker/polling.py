"""How many messages to ask for and of which queue, and asking for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from forebay.clock import Clock
from forebay.worker.queue import Priority
from forebay.worker.receiving import Receiver
from forebay.worker.scheduler import Candidate, Scheduler
from forebay.worker.settings import WorkerSettings
from forebay.worker.waiting import wait_at_most

#: The part of the visibility timeout in which everything in hand should have been handled. The rest
#: is for handlers that take longer than usual.
_HANDLED_WITHIN_FRACTION = 0.5

#: Handled messages whose deletion SQS has not confirmed, at which polling pauses. They count
#: against the 120,000 messages in flight that all workers of a queue share.
UNCONFIRMED_MAX = 5_000


class Stock(Struct, frozen=True, kw_only=True):
    """What a worker has in hand when it decides whether to ask for more."""

    #: Places that nothing runs in.
    free: int
    #: Jobs that wait for a free place only.
    ready: int
    #: Messages that have not started, and most of them there may be, by class.
    waiting: dict[Priority, int]
    capacity: dict[Priority, int]
    #: Handled, but not yet confirmed by SQS.
    unconfirmed: int = 0


class Line(Struct, frozen=True, kw_only=True):
    """One queue when it is decided whether to ask it for messages."""

    name: str
    priority: Priority
    weight: float = 1.0
    #: Receives in flight, and messages that they may bring.
    polls: int = 0
    requested: int = 0
    #: Most messages to ask for at once.
    batch: int = 10
    #: Whether the latest receive failed or brought nothing.
    quiet: bool = True
    #: How many more messages its permits let come; None for any number.
    free: int | None = None
    #: Messages that are thought to be visible.
    visible: int = 0


class Ask(Struct, frozen=True):
    """A receive to start."""

    queue: str
    count: int
    #: Whether to wait for messages. One receive of each queue does; the others go where messages
    #: are, and must not be held up where there are none any more.
    waits: bool


def capacity(
    size: int,
    *,
    concurrency: int,
    batch: int,
    handling_s: float | None,
    visibility_timeout_s: int,
    batch_handlers: int = 0,
    fifo: bool = False,
) -> int:
    """Most messages of a class to have waiting for a handler, of `size` that its buffer takes.

    On a FIFO queue a receive may bring ten messages of one group, of which one can run, so there it
    takes more of them to keep every place busy; and a batch handler wants two whole batches. Never
    more than can be handled well within the visibility timeout, as far as that is known.
    """
    most = max(size, 2 * batch_handlers)
    if fifo:
        most = max(most, concurrency * batch)
    if handling_s and not batch_handlers:
        time_s = visibility_timeout_s * _HANDLED_WITHIN_FRACTION
        most = int(min(most, concurrency * time_s / handling_s))
    return max(most, 1)


def behind_others(
    most: int, *, settings: WorkerSettings, concurrency: int, handling_s: float | None
) -> int:
    """Most messages of a class to have waiting while a higher class has messages.

    What waits here for the age bound goes before any younger message of a higher class. So no more
    of them than the class's share of what is handled within that time; else slow handlers would
    spend most of their time on what is aged, and the higher class would wait behind it.
    """
    if not handling_s:
        return most
    handled_within_bound = settings.age_bound_s * concurrency / handling_s
    return max(1, min(most, int(settings.poll_share * handled_within_bound)))


def receive_limit(
    batch: int, *, fifo: bool, handling_s: float | None, visibility_timeout_s: int
) -> int:
    """Most messages to ask for at once.

    On a FIFO queue they may be of one group and are then handled one after another, so no more of
    them than can be within the visibility timeout.
    """
    if not fifo or not handling_s:
        return batch
    time_s = visibility_timeout_s * _HANDLED_WITHIN_FRACTION
    return max(1, int(min(batch, time_s / handling_s)))


def receives_to_start(
    lines: Sequence[Line], stock: Stock, pollers: int, scheduler: Scheduler, now_ms: int
) -> list[Ask]:
    """The receives that may start now.

    Each queue has one receive that waits for messages, whatever the others do: an empty queue's
    long poll never holds back another queue. The rest of the pollers, of which there are `pollers`
    together, go to queues that have messages, as the scheduler chooses.

    A receive starts when a place would stay free without it, or when there is room for a whole
    batch; otherwise there is time to wait until it is worth a call.
    """
    if stock.unconfirmed >= UNCONFIRMED_MAX:
        return []
    requested = dict.fromkeys(Priority, 0)
    for line in lines:
        requested[line.priority] += line.requested
    hungry_for = stock.free - stock.ready - sum(requested.values())

    asks: list[Ask] = []

    def worth(line: Line) -> int:
        most = stock.capacity[line.priority]
        begin_at_once = max(0, stock.free - stock.ready)
        room = most + begin_at_once - stock.waiting[line.priority] - requested[line.priority]
        whole = min(line.batch, most)
        if line.free is not None:
            asked = sum(ask.count for ask in asks if ask.queue == line.name)
            room = min(room, line.free - line.requested - asked)
            whole = min(whole, max(1, line.free))
        count = min(line.batch, room)
        return count if count >= whole or (count > 0 and hungry_for > 0) else 0

    def ask(line: Line, count: int, *, waits: bool) -> None:
        nonlocal hungry_for
        asks.append(Ask(line.name, count, waits))
        requested[line.priority] += count
        hungry_for -= count

    # A long poll of an empty queue is no poller that another queue could have.
    polls = sum(line.polls for line in lines if not line.quiet)
    for line in sorted(lines, key=lambda line: -line.priority):
        if not line.polls and (count := worth(line)):
            scheduler.polled(line.name, now_ms)
            ask(line, count, waits=True)
            polls += not line.quiet
    while polls < pollers:
        busy = {line.name: (line, worth(line)) for line in lines if not line.quiet}
        chosen = scheduler.next_queue(
            [
                Candidate(line.name, line.priority, max(1, line.visible), line.weight)
                for line, count in busy.values()
                if count
            ],
            now_ms,
        )
        if chosen is None:
            break
        ask(*busy[chosen], waits=False)
        polls += 1
    return asks


class Polling:
    """The receives of all queues, as many as there is room for what they bring."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        settings: WorkerSettings,
        *,
        clock: Clock,
        scheduler: Scheduler,
        stock: Callable[[], Stock],
        lines: Callable[[], Sequence[Line]],
        woken: asyncio.Event,
        stopped: asyncio.Event,
    ) -> None:
        self._receivers = {receiver.source.name: receiver for receiver in receivers}
        self._wait_s = settings.wait_s
        self._clock = clock
        self._scheduler = scheduler
        self._stock = stock
        self._lines = lines
        self._woken = woken
        self._stopped = stopped
        #: Most receives in flight.
        self.pollers = settings.pollers
        #: How long a receive is put off, in milliseconds.
        self.pause_ms = 0

    @property
    def polls(self) -> int:
        """Receives in flight."""
        return sum(receiver.polls for receiver in self._receivers.values())

    async def run(self) -> None:
        """Poll until stopped, and then until every receive in flight is answered."""
        async with asyncio.TaskGroup() as receives:
            while not self._stopped.is_set():
                if self.pause_ms:
                    await wait_at_most(self._clock, self.pause_ms / 1000, self._stopped)
                self._woken.clear()
                asks = receives_to_start(
                    self._lines(),
                    self._stock(),
                    self.pollers,
                    self._scheduler,
                    self._clock.monotonic_ms(),
                )
                for ask in asks:
                    receiver = self._receivers[ask.queue]
                    wait_s = self._wait_s if ask.waits else 0
                    attempt = receiver.begin(ask.count, wait_s)
                    receives.create_task(receiver.receive(attempt))
                await self._woken.wait()
