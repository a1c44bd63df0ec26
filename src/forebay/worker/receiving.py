"""Receiving from one queue, again and again, whatever it fails on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from forebay.backoff import backoff_s, jitter
from forebay.client.base import SqsClient
from forebay.client.retry import NO_RETRY
from forebay.clock import Clock
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import Message, ReceiveMessageRequest
from forebay.protocol.identifiers import message_id
from forebay.worker.settings import WorkerSettings
from forebay.worker.source import Source
from forebay.worker.trouble import Trouble
from forebay.worker.waiting import wait_at_most

#: An unanswered receive is repeated for this part of the visibility timeout. Later its messages are
#: too close to becoming visible again.
_REPEATED_WITHIN_FRACTION = 0.5

#: First and longest pause after a receive failed, in seconds.
_PAUSE_BASE_S = 0.5
_PAUSE_MAX_S = 10.0

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
    timeout can be counted safely, and when they were asked for, on the monotonic clock. `ended` is
    called after each receive.
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
        deliver: Callable[[list[Message], int, int], None],
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
        self._trouble = Trouble(f"Receiving from {source.name}")
        #: Receives in flight, and messages that they may bring.
        self.polls = 0
        self.requested = 0
        #: Whether the latest answer was empty.
        self.quiet = True
        #: Receives so far, those that brought nothing, and those that failed.
        self.receives = 0
        self.empty_receives = 0
        self.failed_receives = 0
        #: Since when no receive has been answered: since the latest answer, or since one was sent
        #: after a time in which none was in flight. None before the first.
        self.silent_since_ms: int | None = None
        #: The age of the oldest message of the latest answer that came for the first time.
        self.age_s = 0.0
        #: The usual time of a receive that finds messages waiting, and how many it finds.
        self.latency_s = 0.0
        self.yield_count = 0.0
        self.received = 0

    @property
    def trouble(self) -> str:
        """What the latest receive failed on; empty once one has worked."""
        return self._trouble.said

    def begin(self, count: int, wait_s: int) -> Attempt:
        """Count a receive as in flight. `receive` makes it."""
        attempt = self._next_attempt(count, wait_s)
        if not self.polls and not self._failures:
            self.silent_since_ms = self._clock.monotonic_ms()
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
        self._failures = 0
        self._trouble.over()
        now_ms = self._clock.monotonic_ms()
        self.silent_since_ms = now_ms
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
        taken_ms = attempt.started_ms if attempt.repeated else now_ms
        self._deliver(messages, taken_ms, started_ms)

    async def _failed(self, attempt: Attempt, error: Exception) -> None:
        self._failures += 1
        self.failed_receives += 1
        self.quiet = True
        self._trouble.failed(error)
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
