"""How many messages to ask for, and asking for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from forebay.backoff import backoff_s, jitter
from forebay.client.base import SqsClient
from forebay.clock import Clock
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import Message, ReceiveMessageRequest
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX, message_id
from forebay.worker.settings import WorkerSettings
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

    running: int
    #: Waiting for a free place only.
    ready: int
    #: Waiting behind another message of their group.
    blocked: int = 0
    #: Handled, but not yet confirmed by SQS.
    unconfirmed: int = 0
    #: The usual time of a handler, in seconds; None before the first is done.
    handling_s: float | None = None


class Polls(Struct, frozen=True):
    """The receives in flight."""

    count: int = 0
    #: Messages that they may bring.
    requested: int = 0
    #: Whether the latest answer was empty.
    quiet: bool = False


def in_hand_limit(settings: WorkerSettings, *, fifo: bool, handling_s: float | None) -> int:
    """Most messages to have running and waiting at a time.

    On a FIFO queue a receive may bring ten messages of one group, of which one can run, so there it
    takes more of them to keep every place busy. Never more than can be handled well within the
    visibility timeout, as far as that is known; and always enough to use every place.
    """
    limit = settings.concurrency + settings.prefetch
    if fifo:
        limit = max(limit, settings.concurrency * settings.batch)
    if handling_s:
        time_s = settings.visibility_timeout_s * _HANDLED_WITHIN_FRACTION
        limit = int(min(limit, settings.concurrency * time_s / handling_s))
    return max(limit, settings.concurrency)


def receive_limit(settings: WorkerSettings, *, fifo: bool, handling_s: float | None) -> int:
    """Most messages to ask for at once.

    On a FIFO queue they may be of one group and are then handled one after another, so no more of
    them than can be within the visibility timeout.
    """
    if not fifo or not handling_s:
        return settings.batch
    time_s = settings.visibility_timeout_s * _HANDLED_WITHIN_FRACTION
    return max(1, int(min(settings.batch, time_s / handling_s)))


def receives_to_start(
    stock: Stock, polls: Polls, settings: WorkerSettings, *, fifo: bool
) -> list[int]:
    """How many messages to ask for, one number for each receive that may start now.

    A receive starts when a place would stay free without it, or when fewer messages wait than are
    to be prefetched. In the second case there is time to wait until it is worth a call: for a whole
    batch, or all that may be prefetched if that is less. An empty queue gets one receive at a time.
    """
    if stock.unconfirmed >= UNCONFIRMED_MAX:
        return []
    limit = in_hand_limit(settings, fifo=fifo, handling_s=stock.handling_s)
    most = receive_limit(settings, fifo=fifo, handling_s=stock.handling_s)
    worthwhile = min(most, max(1, limit - settings.concurrency))
    places = settings.concurrency - stock.running
    waiting = stock.ready + stock.blocked
    requested = polls.requested
    receives: list[int] = []
    while polls.count + len(receives) < (1 if polls.quiet else settings.pollers):
        room = limit - stock.running - waiting - requested
        count = min(most, room)
        hungry = stock.ready + requested < places
        low = waiting + requested < settings.prefetch and count >= worthwhile
        if count < 1 or not (hungry or low):
            break
        receives.append(count)
        requested += count
    return receives


class _Attempt(Struct, frozen=True):
    """A receive that can be repeated without receiving twice. FIFO queues only."""

    attempt_id: str
    count: int
    started_ms: int
    repeated: bool = False


class Poller:
    """Asks SQS for messages as long as there is room for them.

    A receive is never cancelled: by then SQS may have handed out messages, which would stay hidden
    from everybody. A receive of a FIFO queue whose answer was lost is repeated with the same
    ReceiveRequestAttemptId, which brings the same messages.

    `deliver` gets the messages of an answer and the latest moment from which their visibility
    timeout can be counted safely, on the monotonic clock.
    """

    def __init__(
        self,
        client: SqsClient,
        queue_url: str,
        settings: WorkerSettings,
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        stock: Callable[[], Stock],
        deliver: Callable[[list[Message], int], None],
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._fifo = queue_url.endswith(FIFO_SUFFIX)
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._stock = stock
        self._deliver = deliver
        self._polls = 0
        self._requested = 0
        self._quiet = False
        self._woken = asyncio.Event()
        self._stopped = asyncio.Event()
        self._unanswered: list[_Attempt] = []
        self._failures = 0
        self._complaint = ""

    @property
    def polls(self) -> int:
        """Receives in flight."""
        return self._polls

    def wake(self) -> None:
        """There may be room for more messages."""
        self._woken.set()

    def stop(self) -> None:
        """Start no receive from now on."""
        self._stopped.set()
        self._woken.set()

    async def run(self) -> None:
        """Poll until stopped, and then until every receive in flight is answered."""
        async with asyncio.TaskGroup() as receives:
            while not self._stopped.is_set():
                self._woken.clear()
                polls = Polls(self._polls, self._requested, self._quiet or bool(self._failures))
                counts = receives_to_start(self._stock(), polls, self._settings, fifo=self._fifo)
                for count in counts:
                    attempt = self._next_attempt(count)
                    self._polls += 1
                    self._requested += attempt.count
                    receives.create_task(self._receive(attempt))
                await self._woken.wait()

    async def _receive(self, attempt: _Attempt) -> None:
        try:
            result = await self._client.receive_message(
                ReceiveMessageRequest(
                    queue_url=self._queue_url,
                    message_system_attribute_names=_SYSTEM_ATTRIBUTES,
                    message_attribute_names=["All"],
                    max_number_of_messages=attempt.count,
                    visibility_timeout=self._settings.visibility_timeout_s,
                    wait_time_seconds=self._settings.wait_s,
                    receive_request_attempt_id=attempt.attempt_id or None,
                )
            )
        except (ServiceUnreachable, SqsError) as error:
            await self._failed(attempt, error)
        else:
            self._answered(attempt, result.messages or [])
        finally:
            self._polls -= 1
            self._requested -= attempt.count
            self._woken.set()

    def _answered(self, attempt: _Attempt, messages: list[Message]) -> None:
        if self._failures:
            _log.info("Receiving from %s works again.", self._queue_url)
        self._failures = 0
        self._complaint = ""
        self._quiet = not messages
        if messages:
            now_ms = self._clock.monotonic_ms()
            self._deliver(messages, attempt.started_ms if attempt.repeated else now_ms)

    async def _failed(self, attempt: _Attempt, error: ServiceUnreachable | SqsError) -> None:
        """Complain once about each trouble, not at every attempt, and pause."""
        self._failures += 1
        if str(error) != self._complaint:
            self._complaint = str(error)
            _log.error("Receiving from %s fails, will go on trying: %s", self._queue_url, error)
        if self._fifo and isinstance(error, ServiceUnreachable):
            self._unanswered.append(replace(attempt, repeated=True))
        pause_s = backoff_s(
            self._failures, jitter(self._entropy), base_s=_PAUSE_BASE_S, max_s=_PAUSE_MAX_S
        )
        await wait_at_most(self._clock, pause_s, self._stopped)

    def _next_attempt(self, count: int) -> _Attempt:
        now_ms = self._clock.monotonic_ms()
        window_ms = self._settings.visibility_timeout_s * 1000 * _REPEATED_WITHIN_FRACTION
        while self._unanswered:
            attempt = self._unanswered.pop()
            if now_ms - attempt.started_ms < window_ms:
                return attempt
        attempt_id = message_id(self._entropy(16)) if self._fifo else ""
        return _Attempt(attempt_id, count, now_ms)
