"""How many messages to ask for and of which queue, and asking for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from forebay.backoff import backoff_s, jitter
from forebay.client.base import SqsClient
from forebay.client.retry import NO_RETRY
from forebay.clock import Clock
from forebay.errors import ForebayError, ServiceUnreachable, in_words, with_type
from forebay.protocol.actions import Message, ReceiveMessageRequest
from forebay.protocol.identifiers import message_id
from forebay.worker.queue import Priority
from forebay.worker.scheduler import Candidate, Scheduler
from forebay.worker.settings import WorkerSettings
from forebay.worker.source import Source
from forebay.worker.waiting import wait_at_most

_log = logging.getLogger(__name__)

#: The part of the visibility timeout in which everything in hand should have been handled. The rest
#: is for handlers that take longer than usual.
_HANDLED_WITHIN_FRACTION = 0.5

#: An unanswered receive is repeated for this part of the visibility timeout. Later its messages are
#: too close to becoming visible again.
_REPEATED_WITHIN_FRACTION = 0.5

#: Handled messages whose deletion SQS has not confirmed, at which polling pauses. They count
#: against the 120,000 messages in flight that all workers of a queue share.
UNCONFIRMED_MAX = 5_000

#: First and longest pause after a receive failed, in seconds.
_PAUSE_BASE_S = 0.5
_PAUSE_MAX_S = 30.0

#: The weight of the latest receive in the usual time and yield of one.
_LATEST_WEIGHT = 0.1

#: The system attributes that the worker needs of each message.
_SYSTEM_ATTRIBUTES = [
    "ApproximateReceiveCount",
    "SentTimestamp",
    "MessageGroupId",
    "SequenceNumber",
    "AWSTraceHeader",
]


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


class Attempt(Struct, frozen=True):
    """A receive that can be repeated without receiving twice. FIFO queues only."""

    attempt_id: str
    count: int
    wait_s: int
    started_ms: int
    repeated: bool = False


class Receiver:
    """Asks one queue for messages.

    A receive is never cancelled: by then SQS may have handed out messages, which would stay hidden
    from everybody. A receive of a FIFO queue whose answer was lost is repeated with the same
    ReceiveRequestAttemptId, which brings the same messages. Whatever a receive fails on, it is said
    at once and tried again after a pause.

    `deliver` gets the messages of an answer and the latest moment from which their visibility
    timeout can be counted safely, on the monotonic clock. `ended` is called after each receive.
    """

    def __init__(
        self,
        client: SqsClient,
        source: Source,
        settings: WorkerSettings,
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        stopped: asyncio.Event,
        deliver: Callable[[list[Message], int], None],
        ended: Callable[[], None],
    ) -> None:
        self._client = client
        self.source = source
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._stopped = stopped
        self._deliver = deliver
        self._ended = ended
        self._unanswered: list[Attempt] = []
        self._failures = 0
        #: Receives in flight, and messages that they may bring.
        self.polls = 0
        self.requested = 0
        #: Whether the latest answer was empty.
        self.quiet = True
        #: Receives so far, those that brought nothing, and those that failed.
        self.receives = 0
        self.empty_receives = 0
        self.failed_receives = 0
        #: What the latest receive failed on; empty once one has worked.
        self.trouble = ""
        self.answered_ms: int | None = None
        #: The age of the oldest message of the latest answer that came for the first time.
        self.age_s = 0.0
        #: The usual time of a receive that finds messages waiting, and how many it finds.
        self.latency_s = 0.0
        self.yield_count = 0.0
        self.received = 0

    def begin(self, count: int, wait_s: int) -> Attempt:
        """Count a receive as in flight. `receive` makes it."""
        attempt = self._next_attempt(count, wait_s)
        self.polls += 1
        self.requested += attempt.count
        return attempt

    async def receive(self, attempt: Attempt) -> None:
        """Ask once, deliver what comes, and after a failure wait for a while."""
        try:
            await self._receive(attempt)
        finally:
            self.polls -= 1
            self.requested -= attempt.count
            self._ended()

    async def _receive(self, attempt: Attempt) -> None:
        self.receives += 1
        started_ms = self._clock.monotonic_ms()
        try:
            result = await self._client.receive_message(
                ReceiveMessageRequest(
                    queue_url=self.source.url,
                    message_system_attribute_names=_SYSTEM_ATTRIBUTES,
                    message_attribute_names=["All"],
                    max_number_of_messages=attempt.count,
                    visibility_timeout=self.source.visibility_timeout_s,
                    wait_time_seconds=attempt.wait_s,
                    receive_request_attempt_id=attempt.attempt_id or None,
                ),
                retry=NO_RETRY,
            )
        except Exception as error:
            await self._failed(attempt, error)
        else:
            self._answered(attempt, result.messages or [], started_ms)

    def _answered(self, attempt: Attempt, messages: list[Message], started_ms: int) -> None:
        if self._failures:
            _log.info("Receiving from %s works again.", self.source.name)
        self._failures = 0
        self.trouble = ""
        now_ms = self._clock.monotonic_ms()
        self.answered_ms = now_ms
        found_at_once = not attempt.wait_s or not self.quiet
        self.quiet = not messages
        if not messages:
            self.empty_receives += 1
            self.age_s = 0.0
            return
        self.received += len(messages)
        self.yield_count = _usual(self.yield_count, len(messages))
        if found_at_once:
            self.latency_s = _usual(self.latency_s, (now_ms - started_ms) / 1000)
        self.age_s = _oldest_s(messages, self._clock.wall_ms())
        self._deliver(messages, attempt.started_ms if attempt.repeated else now_ms)

    async def _failed(self, attempt: Attempt, error: Exception) -> None:
        """Complain once about each trouble, not at every attempt, and pause."""
        self._failures += 1
        self.failed_receives += 1
        self.quiet = True
        trouble = in_words(error) if isinstance(error, ForebayError) else with_type(error)
        if trouble != self.trouble:
            self.trouble = trouble
            _log.error(
                "Receiving from %s fails, will go on trying: %s",
                self.source.name,
                trouble,
                exc_info=None if isinstance(error, ForebayError) else error,
            )
        if self.source.fifo and isinstance(error, ServiceUnreachable):
            self._unanswered.append(replace(attempt, repeated=True))
        pause_s = backoff_s(
            self._failures, jitter(self._entropy), base_s=_PAUSE_BASE_S, max_s=_PAUSE_MAX_S
        )
        await wait_at_most(self._clock, pause_s, self._stopped)

    def _next_attempt(self, count: int, wait_s: int) -> Attempt:
        now_ms = self._clock.monotonic_ms()
        window_ms = self.source.visibility_timeout_s * 1000 * _REPEATED_WITHIN_FRACTION
        while self._unanswered:
            attempt = self._unanswered.pop()
            if now_ms - attempt.started_ms < window_ms:
                return attempt
        attempt_id = message_id(self._entropy(16)) if self.source.fifo else ""
        return Attempt(attempt_id, count, wait_s, now_ms)


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


def _usual(before: float, latest: float) -> float:
    return before + _LATEST_WEIGHT * (latest - before) if before else latest


def _oldest_s(messages: Sequence[Message], wall_ms: int) -> float:
    sent_ms = min(
        (
            int(attributes.get("SentTimestamp", wall_ms))
            for message in messages
            if (attributes := message.attributes or {}).get("ApproximateReceiveCount") == "1"
        ),
        default=wall_ms,
    )
    return max(0, wall_ms - sent_ms) / 1000
