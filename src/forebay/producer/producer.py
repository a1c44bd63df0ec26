"""The producer: any thread hands messages over, one event loop sends them in batches."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Self, TypedDict, TypeVar
from weakref import WeakSet

from msgspec import Raw
from msgspec.json import Encoder

from forebay.client.base import SqsClient
from forebay.client.plain import MessageAttribute
from forebay.client.retry import RetryPolicy
from forebay.clock import Clock, SystemClock
from forebay.errors import BufferFull, Closed, ForebayError, SettingsError
from forebay.messages.envelope import NOT_JSON
from forebay.number_settings import require_number
from forebay.producer.arguments import check_arguments, queue_name
from forebay.producer.buffer import SMALL_BYTES, Buffer, Incoming
from forebay.producer.entry import Entry, Refused, check
from forebay.producer.envelopes import Envelopes
from forebay.producer.flusher import Flusher, Published
from forebay.producer.ledger import FAILED, DropReason, Lost, ProducerLedger
from forebay.producer.losses import LossReport
from forebay.producer.packer import RECORDS_FIRST, Packer
from forebay.producer.settings import ProducerSettings, WhenFull
from forebay.producer.snapshot import ProducerSnapshot
from forebay.producer.spilling import Spiller
from forebay.protocol import limits
from forebay.protocol.identifiers import FIFO_SUFFIX

__all__ = ["PACKED_TYPES", "Producer", "ProducerOptions", "Published", "producers_of_process"]

#: The types whose envelopes are packed unless others are named.
PACKED_TYPES = ("usage_log",)

#: Types whose messages are made from records; those of more types are made at once.
_TYPES_MAX = 100

#: A record that is larger may be too large with its envelope.
_RECORD_BYTES_MAX = limits.MESSAGE_BYTES_MAX - 4_096

#: How often `publish` looks for room where it may wait for it, in seconds.
_ROOM_POLL_S = 0.01

T = TypeVar("T")

_encode = Encoder().encode


class ProducerOptions(TypedDict, total=False):
    """What can be said of a producer besides its client and its queue, as Producer explains it."""

    node: str | None
    settings: ProducerSettings | None
    packed: Collection[str]
    spill: str | Path | None
    on_lost: Callable[[Lost], object] | None
    retry: RetryPolicy | None


class Producer:
    """Sends envelopes to one queue. Use it as an async context manager, or `start` and `close` it.

    `send` takes about a microsecond and never waits: what there is no room for is dropped and
    counted. What was accepted is sent, again and again while SQS is away, until SQS acknowledges or
    refuses it or `close` runs out of time. `publish` returns when SQS has acknowledged.

    Both go through the same batches. A batch leaves when it is full, when `flush_ms` have passed,
    or, if somebody awaits one of its messages, as soon as a call is free. The envelopes of a packed
    type travel by the thousand in one message. On a FIFO queue the messages of a group are accepted
    by SQS in the order of the calls, unless SQS itself fails one entry of a batch for a while and
    takes a later one of the same group.

    With a spill directory what cannot be sent goes to the disk, outlives the process and is sent
    later, also by another producer with this directory.

    The coroutines belong to the loop that ran `start`, and raise ForebayError in another; `send`,
    `settings`, `ledger` and `snapshot` may be used from any thread. In a forked child a producer is
    empty and not started: give the child a client of its own and a producer with it.
    """

    def __init__(
        self,
        client: SqsClient,
        queue: str,
        *,
        node: str | None = None,
        settings: ProducerSettings | None = None,
        packed: Collection[str] = PACKED_TYPES,
        spill: str | Path | None = None,
        on_lost: Callable[[Lost], object] | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        executor: Executor | None = None,
    ) -> None:
        """The queue is a URL, an ARN or a name; the client stays the caller's to close.

        `node` names this producer in its envelopes; it is this machine's name and the process id
        unless it is given. Envelopes of the types in `packed` are packed on a standard queue.
        `spill` is a directory. `on_lost` is called in the loop with what was lost since the last
        tick. `retry` paces the attempts of every batch, and its deadline is how long `publish`
        waits. The disk's work is done on a thread of `executor`, which runs one job at a time.

        Raises SettingsError for settings that do not fit together, and for a queue, node or type
        that cannot be one.
        """
        check_arguments(queue, node, packed, spill, on_lost)
        self._client = client
        self._queue = queue
        self._fifo = queue.endswith(FIFO_SUFFIX)
        self._given_node = node
        self._packed_types = () if self._fifo and packed is PACKED_TYPES else tuple(packed)
        # Where it was when it was named: a program that becomes a daemon goes elsewhere.
        self._spill = None if spill is None else Path(spill).absolute()
        self._on_lost = on_lost
        self._retry = retry or RetryPolicy()
        self._clock = clock or SystemClock()
        self._wall_ms = self._clock.wall_ms
        self._entropy = entropy
        self._executor = executor
        self._closed = False
        if self._fifo and self._packed_types:
            raise SettingsError(
                "A FIFO queue keeps the order of single messages: leave `packed` empty."
            )
        if self._fifo and spill is not None:
            raise SettingsError("A spill changes the order of messages: a FIFO queue takes none.")
        settings = ProducerSettings() if settings is None else settings
        self._require_fit(settings)
        self._build(settings)
        _producers.add(self)

    def _build(self, settings: ProducerSettings) -> None:
        """Make everything that holds messages or belongs to one process."""
        self.node = self._given_node or f"{platform.node() or 'producer'}-{os.getpid()}"
        self._envelopes = Envelopes(self.node, self._clock, self._entropy, fifo=self._fifo)
        self._blocks = settings.when_full is WhenFull.BLOCK
        self._buffer = Buffer(settings.buffer_size, settings.buffer_bytes)
        self._singles: Incoming[Entry] = self._buffer.incoming_singles(settings.batch_size)
        self._packed = {
            name: self._buffer.incoming_records(RECORDS_FIRST) for name in self._packed_types
        }
        packers = [
            Packer(name, self.node, self._envelopes.next_id, incoming)
            for name, incoming in self._packed.items()
        ]
        #: Where records go, by their type: of packed types, and of others on a standard queue.
        self._records = dict(self._packed)
        self._losses = LossReport(self._queue, self._on_lost)
        self._disk: Executor | None = None
        self._spiller: Spiller | None = None
        if self._spill is not None:
            self._disk = self._executor or ThreadPoolExecutor(1, "forebay-spill")
            owner = queue_name(self._queue)
            self._spiller = Spiller(self._spill, self._buffer, self._disk, owner=owner)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._flusher = Flusher(
            self._client,
            self._queue,
            buffer=self._buffer,
            singles=self._singles,
            packers=packers,
            settings=settings,
            retry=self._retry,
            clock=self._clock,
            entropy=self._entropy,
            losses=self._losses,
            spiller=self._spiller,
        )

    @property
    def ledger(self) -> ProducerLedger:
        """What became of every envelope so far."""
        return self._buffer.ledger()

    @property
    def settings(self) -> ProducerSettings:
        """The settings; assign others and they take effect with the next tick."""
        return self._flusher.settings

    @settings.setter
    def settings(self, settings: ProducerSettings) -> None:
        self._require_fit(settings)
        self._flusher.settings = settings
        self._blocks = settings.when_full is WhenFull.BLOCK
        for name, incoming in list(self._records.items()):
            if name not in self._packed:
                incoming.wake_at = settings.batch_size
        self._singles.wake_at = settings.batch_size
        self._buffer.resize(settings.buffer_size, settings.buffer_bytes)
        if self._spiller is not None:
            self._spiller.limit(settings)

    def snapshot(self) -> ProducerSnapshot:
        """What there is to measure, at this instant."""
        flusher = self._flusher
        counts = flusher.attempts.counts
        calls, events = flusher.in_flight
        oldest_ms = flusher.oldest_ms()
        return ProducerSnapshot(
            queue_url=self._queue,
            queue=queue_name(self._queue),
            node=self.node,
            ledger=self.ledger,
            capacity=flusher.settings.buffer_size,
            calls_in_flight=calls,
            events_in_flight=events,
            calls_answered=counts.calls_answered,
            calls_failed=counts.calls_failed,
            calls_s=counts.calls_ms / 1000,
            errors=dict(flusher.attempts.errors),
            messages_delivered=counts.messages_delivered,
            packs=counts.packs,
            packed_bytes=counts.packed_bytes,
            pack_billed_bytes=counts.pack_billed_bytes,
            oldest_ms=0 if oldest_ms is None else max(0, self._wall_ms() - oldest_ms),
            spill_bytes=0 if self._spiller is None else self._spiller.size_bytes,
        )

    async def start(self) -> None:
        """Begin to send, in the running loop. Raises Closed after `close`, and SpillError."""
        if self._closed:
            raise Closed("The producer was closed; make a new one.")
        if self._loop is not None:
            self._require_own_loop()
            return
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        await self._flusher.start()

    async def flush(self, timeout_s: float | None = None) -> bool:
        """Send what is buffered and return when nothing is left: it is in SQS, or on the disk.

        False when `timeout_s` was over first. While others go on sending it may not come to an end.
        """
        if timeout_s is not None:
            require_number("timeout_s", timeout_s)
        self._require_own_loop()
        return await self._flusher.drain(timeout_s)

    async def close(self, drain_timeout_s: float = 10.0) -> ProducerLedger:
        """Accept nothing more, send what is buffered, and return the final ledger.

        What is left after `drain_timeout_s` goes to the spill or is counted as failed, and whoever
        awaits it gets Closed. The log says so when anything was lost. Closing again returns the
        same ledger.
        """
        require_number("drain_timeout_s", drain_timeout_s)
        self._require_own_loop()
        first = not self._closed
        self._closed = True
        self._buffer.close()
        try:
            await self._flusher.close(drain_timeout_s)
        finally:
            self._end(first)
        return self.ledger

    def _end(self, first: bool) -> None:
        left = self._buffer.abandon()
        if left:
            now_ms = self._wall_ms()
            self._buffer.lose(
                Lost(
                    reason=FAILED,
                    events=left,
                    first_ms=now_ms,
                    last_ms=now_ms,
                    error="They were left when the producer was closed.",
                )
            )
        self._losses.tell(self._buffer.losses(), self._clock.monotonic_ms())
        if first:
            self._losses.close(self.ledger, self._spiller and self._spiller.directory)
        if self._disk is not None and self._disk is not self._executor:
            self._disk.shutdown(wait=False)

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
        key: str | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
    ) -> bool:
        """Hand a message over and return at once: True when it was accepted.

        False means that it was dropped and counted in the ledger by its DropReason. The payload is
        encoded before this returns, or the message dropped. On a FIFO queue the deduplication id is
        the envelope's id unless one is given. A message with a group id is never packed.

        With `when_full="block"` it waits for room up to `block_ms`, unless it is called on the
        loop's own thread.
        """
        # No argument is for a keyword alone: the interpreter calls such functions the long way.
        try:
            incoming = self._records.get(type)
            if (
                incoming is None
                or group_id is not None
                or deduplication_id is not None
                or (key is not None and type not in self._packed)
            ):
                return self._send_alone(type, payload, key, group_id, deduplication_id)
            items = incoming.items
            crowded = len(items) >= incoming.calm
            if crowded and self._buffer.full and not self._blocks:
                self._refuse(DropReason.FULL)
                return False
            if key is None and payload.__class__ is not Raw:
                record = _encode((self._wall_ms(), payload))
            else:
                record = self._envelopes.record(payload, key)
        except Refused as refusal:
            self._refuse(refusal.reason, str(refusal))
            return False
        except NOT_JSON as error:
            self._refuse(DropReason.UNENCODABLE, str(error))
            return False
        # The buffer says why this may be done without its lock.
        if not crowded and len(record) <= SMALL_BYTES:
            items.append(record)
            return True
        if len(record) > _RECORD_BYTES_MAX:
            if type not in self._packed:
                return self._send_alone(type, payload, key, None, None)
            if len(record) > limits.MESSAGE_BYTES_MAX:
                self._refuse(DropReason.TOO_LARGE)
                return False
        return self._accept(incoming, record, len(record))

    def _send_alone(
        self,
        type: str,  # noqa: A002
        payload: object,
        key: str | None,
        group_id: str | None,
        deduplication_id: str | None,
    ) -> bool:
        """Make the envelope at once, unless it needs nothing that a record has not."""
        try:
            plain = key is None and group_id is None and deduplication_id is None
            is_new = not self._fifo and type not in self._records
            if plain and is_new and len(self._records) < _TYPES_MAX:
                self._begin_records(type)
                return self.send(type, payload)
            entry = self._envelopes.entry(type, payload, key, group_id, deduplication_id)
            size_bytes = check(entry, fifo=self._fifo)
        except Refused as refusal:
            self._refuse(refusal.reason, str(refusal))
            return False
        return self._accept(self._singles, entry, size_bytes)

    def _begin_records(self, type: str) -> None:  # noqa: A002
        """From now on messages of this type that need no more become records."""
        incoming = self._buffer.incoming_records(self._flusher.settings.batch_size)
        self._flusher.take_alone(incoming, self._envelopes.alone(type))
        self._records[type] = incoming

    def _accept(self, incoming: Incoming[T], item: T, size_bytes: int) -> bool:
        if not self._buffer.offer(incoming, item, size_bytes):
            if not self._blocks:
                self._refuse(DropReason.FULL)
                return False
            if not self._wait_for_room(incoming, item, size_bytes):
                return False
        if len(incoming.items) >= incoming.wake_at:
            if not self._flusher.dispatch_coming:
                self._ask_for_dispatch()
            incoming.calm = incoming.granted
        return True

    async def publish(
        self,
        type: str,  # noqa: A002
        payload: object,
        key: str | None = None,
        *,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        delay_s: int | None = None,
        attributes: Mapping[str, MessageAttribute] | None = None,
    ) -> Published:
        """Send a message of its own and return when SQS has acknowledged it.

        `delay_s` hides it for so many seconds (standard queues), and `attributes` are its message
        attributes, with values as Python has them.

        Raises BufferFull or Closed when the message was not accepted, EnvelopeError for a payload
        that is no JSON and for an empty type or key, SqsError when SQS refuses the message, and
        ServiceUnreachable when SQS was away for as long as the policy `retry` says: then the
        message may have arrived, and publishing it again with the same `deduplication_id` (FIFO)
        or `key` lets it count once. A cancelled one may still be sent.
        """
        return await self._publish(
            lambda: self._envelopes.entry(
                type, payload, key, group_id, deduplication_id, delay_s, attributes
            )
        )

    async def publish_body(
        self,
        body: str,
        *,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        delay_s: int | None = None,
        attributes: Mapping[str, MessageAttribute] | None = None,
    ) -> Published:
        """As `publish`, with a text that is sent as it is and not in an envelope.

        It is for consumers that expect a form of their own. Nothing but what is in the body tells
        such a message from its doubles, so put an id there. The id of what is `Published` is for
        this producer alone.
        """
        return await self._publish(
            lambda: self._envelopes.bare(body, group_id, deduplication_id, delay_s, attributes)
        )

    async def _publish(self, make: Callable[[], Entry]) -> Published:
        if self._loop is None and not self._closed:
            raise Closed("The producer was not started: call start() or use `async with`.")
        self._require_own_loop()
        try:
            entry = make()
            size_bytes = check(entry, fifo=self._fifo)
        except Refused as refusal:
            self._refuse(refusal.reason, str(refusal))
            raise refusal.error from None
        acknowledged: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        waiting = self._flusher.acknowledgements
        waiting[entry.envelope_id] = acknowledged
        try:
            await self._offer(entry, size_bytes)
            self._flusher.ask()
            return await acknowledged
        finally:
            waiting.pop(entry.envelope_id, None)

    async def _offer(self, entry: Entry, size_bytes: int) -> None:
        settings = self._flusher.settings
        blocks = settings.when_full is WhenFull.BLOCK
        deadline_ms = self._clock.monotonic_ms() + (settings.block_ms if blocks else 0)
        while not self._buffer.offer(self._singles, entry, size_bytes):
            if self._closed or self._clock.monotonic_ms() >= deadline_ms:
                reason = self._refuse(DropReason.BLOCKED if blocks else DropReason.FULL)
                if reason is DropReason.CLOSED:
                    raise Closed("The producer was closed; the message was not accepted.")
                raise BufferFull
            await self._clock.sleep(_ROOM_POLL_S)

    def _wait_for_room(self, incoming: Incoming[T], item: T, size_bytes: int) -> bool:
        if get_ident() == self._thread:
            self._refuse(DropReason.FULL)
            return False
        # Whoever waits cannot know that a dispatch is due: there is no next call.
        if self._loop is not None and not self._flusher.dispatch_coming:
            self._ask_for_dispatch()
        timeout_s = self._flusher.settings.block_ms / 1000
        if self._buffer.offer_within(incoming, item, size_bytes, timeout_s):
            return True
        self._refuse(DropReason.BLOCKED)
        return False

    def _refuse(self, reason: DropReason, error: str = "") -> DropReason:
        return self._buffer.refuse(reason, self._wall_ms(), error)

    def _ask_for_dispatch(self) -> None:
        """Have the loop dispatch soon. Any thread may ask."""
        self._flusher.dispatch_coming = True
        assert self._loop is not None
        # A loop that ended without `close` sends nothing more, and the ledger shows what is left.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._flusher.dispatch)

    def _require_fit(self, settings: ProducerSettings) -> None:
        if not isinstance(settings, ProducerSettings):
            raise SettingsError(
                f"The settings of a producer are {settings!r:.100}; they must be ProducerSettings."
            )
        if settings.when_full is WhenFull.SPILL and self._spill is None:
            raise SettingsError(
                'ProducerSettings.when_full is "spill"; give the producer a directory: spill=PATH.'
            )

    def _require_own_loop(self) -> None:
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise ForebayError(
                "The producer was started in another event loop. Call it there, as with"
                " asyncio.run_coroutine_threadsafe, or use a BackgroundProducer."
            )

    def _forget_after_fork(self) -> None:
        """What the parent holds is the parent's to send: the child begins with nothing."""
        if self._spiller is not None:
            self._spiller.abandon()
        self._build(self._flusher.settings)
        if self._closed:
            self._buffer.close()


_producers: WeakSet[Producer] = WeakSet()


def producers_of_process() -> list[Producer]:
    """Every producer that somebody holds in this process."""
    return list(_producers)


def _forget_in_child() -> None:
    for producer in list(_producers):
        producer._forget_after_fork()


os.register_at_fork(after_in_child=_forget_in_child)
