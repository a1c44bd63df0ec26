"""The producer: any thread hands messages over, one event loop sends them in batches."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Self

from msgspec import Struct

from forebay.backoff import jitter
from forebay.client.base import SqsClient
from forebay.client.retry import NO_RETRY, RetryPolicy
from forebay.clock import Clock, SystemClock
from forebay.errors import BufferFull, Closed, ForebayError
from forebay.messages.envelope import EnvelopeError, encode_envelope_utf8, envelope_timestamp
from forebay.producer.batching import Lanes
from forebay.producer.buffer import Buffer
from forebay.producer.delivery import Outcome, batch_request, judge
from forebay.producer.entry import Entry, Refused, check
from forebay.producer.ledger import DropReason, ProducerLedger
from forebay.producer.settings import ProducerSettings
from forebay.producer.trouble import Trouble
from forebay.protocol.actions import SendMessageBatchResult
from forebay.protocol.identifiers import FIFO_SUFFIX

_log = logging.getLogger(__name__)

#: How many random bytes begin the envelope ids of one producer; a counter ends them.
_ID_ENTROPY_BYTES = 10


class Published(Struct, frozen=True):
    """What SQS acknowledged."""

    envelope_id: str
    message_id: str
    #: The place in the queue; None on a standard queue.
    sequence_number: str | None


class Producer:
    """Sends envelopes to one queue. Use it as an async context manager, or `start` and `close` it.

    `send` takes microseconds and never waits: a full buffer drops and counts.
    What was accepted is sent, again and again while SQS is away, until SQS acknowledges or refuses
    it or `close` runs out of time. `publish` returns when SQS has acknowledged.

    Both go through the same batches. A batch leaves when it is full, when `flush_ms` have passed,
    or, if somebody awaits one of its messages, as soon as a call is free. On a FIFO queue the
    messages of a group are accepted by SQS in the order of the calls, unless SQS itself fails one
    entry of a batch for a while and takes a later one of the same group.

    The coroutines belong to the loop that ran `start`; `send`, `settings` and `ledger` may be used
    from any thread.
    """

    def __init__(
        self,
        client: SqsClient,
        queue_url: str,
        *,
        node: str,
        settings: ProducerSettings | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`node` names this producer in its envelopes; the client stays the caller's to close.

        `retry` paces the attempts of every batch, and its deadline is how long `publish` waits.
        """
        self._client = client
        self._queue_url = queue_url
        self._fifo = queue_url.endswith(FIFO_SUFFIX)
        self._node = node
        self._settings = settings or ProducerSettings()
        self._retry = retry or RetryPolicy()
        self._clock = clock or SystemClock()
        self._entropy = entropy
        self._id_prefix = f"{entropy(_ID_ENTROPY_BYTES).hex()}-"
        self._id_counter = count()
        self._timestamp = (0, envelope_timestamp(0))
        self._buffer = Buffer(self._settings.buffer_size)
        self._lanes = Lanes(fifo=self._fifo)
        self._acknowledgements: dict[str, asyncio.Future[Published]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._closed = False
        #: A dispatch is coming anyway, so that nobody needs to ask for one.
        self._dispatch_coming = True
        self._flush_asked = False
        self._trouble = Trouble(queue_url)

    @property
    def ledger(self) -> ProducerLedger:
        """What became of every message so far."""
        return self._buffer.ledger()

    @property
    def settings(self) -> ProducerSettings:
        """The settings; assign others and they take effect with the next tick."""
        return self._settings

    @settings.setter
    def settings(self, settings: ProducerSettings) -> None:
        self._settings = settings
        self._buffer.resize(settings.buffer_size)

    async def start(self) -> None:
        """Begin to send, in the running loop. Raises Closed after `close`."""
        if self._closed:
            raise Closed("The producer was closed; make a new one.")
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._ticker = self._loop.create_task(self._tick())
        self._dispatch()

    async def close(self, drain_timeout_s: float = 10.0) -> ProducerLedger:
        """Accept nothing more, send what is buffered, and return the final ledger.

        What is left after `drain_timeout_s` is counted as failed, and whoever awaits it gets
        Closed. Closing again returns the same ledger.
        """
        self._closed = True
        self._buffer.close()
        if self._ticker is not None:
            try:
                await self._drain(drain_timeout_s)
            finally:
                await self._stop()
        self._buffer.abandon()
        return self.ledger

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def send(
        self,
        type: str,  # noqa: A002
        payload: object,
        *,
        key: str | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> bool:
        """Hand a message over and return at once: True when it was accepted.

        False means that it was dropped and counted in the ledger by its DropReason. On a FIFO queue
        the deduplication id is the envelope's id unless one is given.
        """
        try:
            entry = self._entry(type, payload, key, group_id, deduplication_id)
        except Refused as refusal:
            self._buffer.refuse(refusal.reason)
            return False
        if self._buffer.offer(entry) is not None:
            return False
        if not self._dispatch_coming and self._buffer.incoming >= self._settings.batch_size:
            self._ask_for_dispatch()
        return True

    async def publish(
        self,
        type: str,  # noqa: A002
        payload: object,
        *,
        key: str | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> Published:
        """Send a message and return when SQS has acknowledged it.

        Raises BufferFull or Closed when the message was not accepted, EnvelopeError for a payload
        that is no JSON and for an empty type or key, SqsError when SQS refuses the message, and
        ServiceUnreachable when SQS was away for as long as the policy `retry` says: then the
        message may have arrived, and publishing it again with the same `deduplication_id` (FIFO)
        or `key` lets it count once. A cancelled one may still be sent.
        """
        if self._loop is None and not self._closed:
            raise Closed("The producer was not started: call start() or use `async with`.")
        try:
            entry = self._entry(type, payload, key, group_id, deduplication_id)
        except Refused as refusal:
            self._buffer.refuse(refusal.reason)
            raise refusal.error from None
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[Published] = loop.create_future()
        self._acknowledgements[entry.envelope_id] = acknowledged
        try:
            reason = self._buffer.offer(entry)
            if reason is DropReason.CLOSED:
                raise Closed("The producer was closed; the message was not accepted.")
            if reason is not None:
                raise BufferFull
            self._flush_asked = True
            if not self._dispatch_coming:
                self._dispatch_coming = True
                loop.call_soon(self._dispatch)
            return await acknowledged
        finally:
            self._acknowledgements.pop(entry.envelope_id, None)

    def _entry(
        self,
        type: str,  # noqa: A002
        payload: object,
        key: str | None,
        group_id: str | None,
        deduplication_id: str | None,
    ) -> Entry:
        envelope_id = f"{self._id_prefix}{next(self._id_counter)}"
        wall_ms = self._clock.wall_ms()
        timestamp = self._timestamp
        if timestamp[0] != wall_ms:
            timestamp = self._timestamp = (wall_ms, envelope_timestamp(wall_ms))
        try:
            body = encode_envelope_utf8(
                envelope_id, type, timestamp[1], self._node, payload, key=key
            )
        except EnvelopeError as error:
            raise Refused(DropReason.UNENCODABLE, error) from error
        if self._fifo and deduplication_id is None:
            deduplication_id = envelope_id
        entry = Entry(envelope_id, body, group_id, deduplication_id)
        check(entry, fifo=self._fifo)
        return entry

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(self._settings.flush_ms / 1000)
            self._flush_asked = True
            self._dispatch()

    def _ask_for_dispatch(self) -> None:
        """Have the loop dispatch soon. Any thread may ask."""
        self._dispatch_coming = True
        assert self._loop is not None
        # A loop that ended without `close` sends nothing more, and the ledger shows what is left.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._dispatch)

    def _dispatch(self) -> None:
        """Begin every call that is ready, as far as calls are free."""
        assert self._loop is not None
        # First of all: a message that comes in after `take` must ask again.
        self._dispatch_coming = False
        for entry in self._buffer.take():
            self._lanes.add(entry)
        if self._flush_asked:
            self._flush_asked = False
            self._lanes.mark_due()
        while len(self._calls) < self._settings.concurrency:
            batch = self._lanes.next_batch(self._settings.batch_size)
            if not batch:
                return
            call = self._loop.create_task(self._deliver(batch))
            self._calls.add(call)
            call.add_done_callback(self._end_call)
        # Until a call ends there is nothing to begin, and its end dispatches.
        self._dispatch_coming = True

    def _end_call(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if call.cancelled():
            return
        self._dispatch()
        if self._idle is not None and not self._calls and not self._idle.done():
            self._idle.set_result(None)

    async def _deliver(self, batch: list[Entry]) -> None:
        """Send a batch until every message of it is settled."""
        failing_since_ms: int | None = None
        attempt = 0
        while batch:
            attempt += 1
            outcome = judge(batch, await self._attempt(batch))
            self._trouble.tell(outcome, awaited=self._acknowledgements)
            now_ms = self._clock.monotonic_ms()
            if failing_since_ms is None:
                failing_since_ms = now_ms
            again = self._settle(outcome, attempt, now_ms - failing_since_ms)
            self._lanes.release(_groups(batch) - _groups(again))
            batch = again
            if batch:
                self._dispatch()
                await self._clock.sleep(self._retry.delay_ms(attempt, jitter(self._entropy)) / 1000)

    async def _attempt(self, batch: list[Entry]) -> SendMessageBatchResult | ForebayError:
        try:
            return await self._client.send_message_batch(
                batch_request(self._queue_url, batch),
                timeout_s=self._settings.timeout_ms / 1000,
                retry=NO_RETRY,
            )
        except ForebayError as error:
            return error
        except Exception as error:
            _log.exception("A batch of %d messages failed on an unexpected error", len(batch))
            return ForebayError(f"Sending failed on an unexpected error: {error!r}")

    def _settle(self, outcome: Outcome, attempt: int, elapsed_ms: int) -> list[Entry]:
        """Account for an attempt; return the messages to send again."""
        again: list[Entry] = []
        for entry, error in outcome.again:
            if self._has_given_up(entry, error, attempt, elapsed_ms):
                outcome.failed.append((entry, error))
            else:
                again.append(entry)
        self._buffer.settle(sent=len(outcome.sent), failed=len(outcome.failed))
        for entry, result in outcome.sent:
            acknowledged = self._acknowledgements.get(entry.envelope_id)
            if acknowledged is not None and not acknowledged.done():
                acknowledged.set_result(
                    Published(entry.envelope_id, result.message_id, result.sequence_number)
                )
        for entry, error in outcome.failed:
            acknowledged = self._acknowledgements.get(entry.envelope_id)
            if acknowledged is not None and not acknowledged.done():
                acknowledged.set_exception(error)
        return again

    def _has_given_up(
        self, entry: Entry, error: ForebayError, attempt: int, elapsed_ms: int
    ) -> bool:
        """Whether somebody awaits the message and has waited long enough."""
        if entry.envelope_id not in self._acknowledgements:
            return False
        return self._retry.decide(attempt, error, elapsed_ms, random=0.0) is None

    async def _drain(self, timeout_s: float) -> None:
        """Wait until everything is settled, for at most `timeout_s`."""
        assert self._loop is not None
        self._flush_asked = True
        self._dispatch()
        if not self._calls:
            return
        if self._idle is None:
            self._idle = self._loop.create_future()
        deadline = self._loop.create_task(self._clock.sleep(timeout_s))
        try:
            await asyncio.wait({self._idle, deadline}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            deadline.cancel()

    async def _stop(self) -> None:
        """End the ticker and the calls, and tell those who wait."""
        tasks = [*self._calls] if self._ticker is None else [*self._calls, self._ticker]
        self._ticker = None
        for task in tasks:
            task.cancel()
        for acknowledged in self._acknowledgements.values():
            if not acknowledged.done():
                acknowledged.set_exception(
                    Closed("The producer was closed before SQS acknowledged the message.")
                )
        await asyncio.gather(*tasks, return_exceptions=True)


def _groups(entries: Iterable[Entry]) -> set[str | None]:
    return {entry.group_id for entry in entries}
