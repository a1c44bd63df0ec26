"""The loop's side of a producer: what was handed over becomes calls, and each is settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from forebay.backoff import jitter
from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.clock import Clock
from forebay.errors import Closed, ForebayError
from forebay.messages.envelope import EnvelopeError
from forebay.producer.attempts import Attempts
from forebay.producer.batching import Lanes
from forebay.producer.buffer import Buffer, Incoming
from forebay.producer.delivery import Outcome, loss_of
from forebay.producer.entry import Entry, events_in
from forebay.producer.envelopes import EnvelopesOfType
from forebay.producer.ledger import DropReason
from forebay.producer.losses import LossReport
from forebay.producer.packer import Packer
from forebay.producer.replay import Replay
from forebay.producer.settings import ProducerSettings
from forebay.producer.spilling import Spiller
from forebay.protocol.identifiers import FIFO_SUFFIX

_log = logging.getLogger(__name__)

#: So many packs' worth of records are sealed in one go and leave in one call. It keeps the loop for
#: some ten milliseconds; beside threads that never rest, each step to the network costs it the
#: interpreter for five.
_PACKS_AT_ONCE = 8

#: What is accounted for is saved this often at most while there is a spill, in milliseconds.
_SAVE_INTERVAL_MS = 1_000

#: Settings that are changed are looked at so often at least, in milliseconds.
_SETTINGS_INTERVAL_MS = 500


class Published(Struct, frozen=True):
    """What SQS acknowledged."""

    envelope_id: str
    message_id: str
    #: The place in the queue; None on a standard queue.
    sequence_number: str | None


class Flusher:
    """Takes messages from the buffer, sends them in many batches at a time, and settles each.

    A batch that fails is sent again in memory; with a spill it goes to the disk instead, and while
    the queue is away so does everything else, until a message from there has got through. What was
    spilled gets a bounded share of the calls while there is live traffic.
    """

    def __init__(
        self,
        client: SqsClient,
        queue: str,
        *,
        buffer: Buffer,
        singles: Incoming[Entry],
        packers: Sequence[Packer],
        settings: ProducerSettings,
        retry: RetryPolicy,
        clock: Clock,
        entropy: Callable[[int], bytes],
        losses: LossReport,
        spiller: Spiller | None,
    ) -> None:
        self.settings = settings
        #: A dispatch is coming anyway, so that nobody needs to ask for one.
        self.dispatch_coming = True
        #: Who awaits which message.
        self.acknowledgements: dict[str, asyncio.Future[Published]] = {}
        self.attempts = Attempts(client, queue, clock, keeps=spiller is not None)
        self._queue = queue
        self._buffer = buffer
        self._singles = singles
        self._packers = packers
        self._alone: list[tuple[Incoming[bytes], EnvelopesOfType]] = []
        self._retry = retry
        self._clock = clock
        self._entropy = entropy
        self._losses = losses
        self._spiller = spiller
        self._lanes = Lanes(fifo=queue.endswith(FIFO_SUFFIX))
        self._calls: dict[asyncio.Task[None], list[Entry]] = {}
        self._flush_asked = False
        self._ticker: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._saved_ms = 0
        self._replay: Replay | None = None
        if spiller is not None:
            self._replay = Replay(
                spiller,
                self.attempts,
                buffer=buffer,
                lanes=self._lanes,
                awaited=self.acknowledgements,
                settings=lambda: self.settings,
                delay_s=self._delay_s,
                clock=clock,
                dispatch=self.dispatch,
                idle=self._tell_idle,
            )

    @property
    def in_flight(self) -> tuple[int, int]:
        """Calls under way, and the envelopes in them. Any thread may ask."""
        batches = list(self._calls.values())
        return len(batches), sum(events_in(batch) for batch in batches)

    def oldest_ms(self) -> int | None:
        """When the oldest message was made that is not settled, as far as it is known here."""
        firsts = [entry.first_ms for batch in list(self._calls.values()) for entry in batch]
        waiting = self._lanes.oldest_ms()
        return min(firsts if waiting is None else [*firsts, waiting], default=None)

    async def start(self) -> None:
        """Begin to send, in the running loop. Raises SpillError."""
        if self._spiller is not None:
            await self._spiller.open(self.settings)
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        self.dispatch()

    def take_alone(self, incoming: Incoming[bytes], envelopes: EnvelopesOfType) -> None:
        """From now on make messages of their own from these records. Any thread may say so."""
        self._alone.append((incoming, envelopes))

    def ask(self) -> None:
        """Have the loop send what it has as soon as a call is free."""
        self._flush_asked = True
        if not self.dispatch_coming:
            self.dispatch_coming = True
            asyncio.get_running_loop().call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Begin every call that is ready, as far as calls are free."""
        # First of all: a message that comes in after `take` must ask again.
        self.dispatch_coming = False
        self._take_singles()
        if self._flush_asked:
            self._lanes.mark_due()
        self._pack()
        if self._replay is not None:
            self._replay.relieve()
            self._replay.begin()
        while self._call_is_free():
            batch = self._lanes.next_batch(self.settings.batch_size)
            if not batch:
                return
            self._begin_call(batch)
        # Until a call ends there is nothing to begin, and its end dispatches. A spill takes what
        # waits meanwhile, and has to be told of it.
        self.dispatch_coming = self._spiller is None

    async def drain(self, timeout_s: float | None) -> bool:
        """Wait until everything is settled or spilled; False when the time was over first."""
        if self._ticker is None:
            return self._buffer.buffered == 0
        loop = asyncio.get_running_loop()
        self._flush_asked = True
        self.dispatch()
        if self._is_idle():
            return True
        if self._idle is None or self._idle.done():
            self._idle = loop.create_future()
        waited: set[asyncio.Future[None]] = {self._idle}
        deadline = None
        if timeout_s is not None:
            deadline = loop.create_task(self._clock.sleep(timeout_s))
            waited.add(deadline)
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if deadline is not None:
                deadline.cancel()
        return self._is_idle()

    async def close(self, drain_timeout_s: float) -> None:
        """Send what is buffered, and keep or give up what is left after that time."""
        if self._replay is not None:
            self._replay.begin_none()
        try:
            await self.drain(drain_timeout_s)
        finally:
            await self._stop()

    async def _tick(self) -> None:
        while True:
            await self._wait_for_tick()
            try:
                await self._do_due()
            except Exception:
                # Whatever it is, the next tick comes: what is sent now must not wait for ever.
                _log.exception("The producer for %s failed on an unexpected error", self._queue)

    async def _wait_for_tick(self) -> None:
        """Until `flush_ms` have passed, also when it is made shorter meanwhile."""
        began_ms = self._clock.monotonic_ms()
        while (left_ms := began_ms + self.settings.flush_ms - self._clock.monotonic_ms()) > 0:
            await self._clock.sleep(min(left_ms, _SETTINGS_INTERVAL_MS) / 1000)

    async def _do_due(self) -> None:
        self._flush_asked = True
        self.dispatch()
        now_ms = self._clock.monotonic_ms()
        self._losses.tell(self._buffer.losses(), now_ms)
        if self._spiller is not None:
            self._spiller.note()
            if now_ms - self._saved_ms >= _SAVE_INTERVAL_MS:
                self._saved_ms = now_ms
                await self._spiller.save()

    def _take_singles(self) -> None:
        for incoming, envelopes in self._alone:
            for record in self._buffer.take(incoming):
                try:
                    entry = envelopes.entry(record)
                except EnvelopeError as error:
                    self._give_up([record], DropReason.UNENCODABLE, str(error))
                    continue
                self._buffer.shrink(len(record) - entry.size_bytes)
                self._lanes.add(entry)
        for entry in self._buffer.take(self._singles):
            self._lanes.add(entry)

    def _pack(self) -> None:
        """Seal the records that fill packs, and all of them when a flush was asked for."""
        if self._packers and not (self._spiller is not None or self._call_is_free()):
            return
        due, self._flush_asked = self._flush_asked, False
        for packer in self._packers:
            incoming = packer.incoming
            if len(incoming.items) < (1 if due else incoming.wake_at):
                continue
            records = self._buffer.take(incoming, most=_PACKS_AT_ONCE * incoming.wake_at)
            self._seal(packer, records, due=due)
            if len(incoming.items) >= (1 if due else incoming.wake_at):
                self._flush_asked = due
                self.dispatch_coming = True
                asyncio.get_running_loop().call_soon(self.dispatch)

    def _seal(self, packer: Packer, records: list[bytes], *, due: bool) -> None:
        packed = packer.seal(records, due=due)
        if packed.left:
            self._buffer.put_back(packer.incoming, packed.left)
        before_bytes = sum(map(len, records)) - sum(map(len, packed.left))
        after_bytes = 0
        for entry in packed.entries:
            after_bytes += entry.size_bytes
            self._lanes.add(entry)
        self._lanes.mark_due()
        before_bytes -= self._give_up(
            packed.too_large,
            DropReason.TOO_LARGE,
            "No message holds the payload, packed or not.",
        )
        self._buffer.shrink(before_bytes - after_bytes)
        self.attempts.counts.packs += len(packed.entries)
        self.attempts.counts.packed_bytes += before_bytes
        self.attempts.counts.pack_billed_bytes += after_bytes

    def _give_up(self, records: list[bytes], reason: DropReason, error: str) -> int:
        """Drop records that were accepted and cannot be sent; return their bytes."""
        size_bytes = sum(map(len, records))
        if records:
            now_ms = self._clock.wall_ms()
            self._buffer.drop_buffered(reason, len(records), size_bytes, (now_ms, now_ms), error)
        return size_bytes

    def _call_is_free(self) -> bool:
        settings = self.settings
        if self._replay is None:
            return len(self._calls) < settings.concurrency
        # Half of the buffer stays free for what comes while these calls get no answer.
        if self._calls and 2 * self.in_flight[1] >= settings.buffer_size:
            return False
        return len(self._calls) < max(1, settings.concurrency - self._replay.calls)

    def _begin_call(self, batch: list[Entry]) -> None:
        if self._spiller is not None:
            # Before it leaves: what arrives must have been offered in the account of a killed run.
            self._spiller.note()
        call = asyncio.get_running_loop().create_task(self._deliver(batch))
        self._calls[call] = batch
        call.add_done_callback(self._end_call)

    def _end_call(self, call: asyncio.Task[None]) -> None:
        self._calls.pop(call)
        if call.cancelled():
            return
        self.dispatch()
        self._tell_idle()

    def _is_idle(self) -> bool:
        return (
            not (
                self._calls
                or (self._replay is not None and self._replay.writes)
                or self._singles.items
                or any(packer.incoming.items for packer in self._packers)
                or any(incoming.items for incoming, _ in self._alone)
            )
            and self._lanes.empty
        )

    def _tell_idle(self) -> None:
        if self._idle is not None and not self._idle.done() and self._is_idle():
            self._idle.set_result(None)

    async def _deliver(self, batch: list[Entry]) -> None:
        """Send a batch until every message of it is settled or spilled."""
        failing_since_ms: int | None = None
        attempt = 0
        call = asyncio.current_task()
        assert call is not None
        while batch:
            attempt += 1
            outcome = await self.attempts.send(
                batch, self.settings.timeout_ms, self.acknowledgements
            )
            now_ms = self._clock.monotonic_ms()
            if failing_since_ms is None:
                failing_since_ms = now_ms
            again = self._settle(outcome, attempt, now_ms - failing_since_ms)
            if again and self._replay is not None:
                self._replay.keep(
                    entry for entry in again if entry.envelope_id not in self.acknowledgements
                )
                again = [entry for entry in again if entry.envelope_id in self.acknowledgements]
            self._lanes.release(_groups(batch) - _groups(again))
            self._calls[call] = batch = again
            if batch:
                self.dispatch()
                await self._clock.sleep(self._delay_s(attempt))

    def _settle(self, outcome: Outcome, attempt: int, elapsed_ms: int) -> list[Entry]:
        """Account for an attempt; return the messages to send again."""
        again: list[Entry] = []
        for entry, error in outcome.again:
            if self._has_given_up(entry, error, attempt, elapsed_ms):
                outcome.failed.append((entry, error))
            else:
                again.append(entry)
        settled = [entry for entry, _ in outcome.sent] + [entry for entry, _ in outcome.failed]
        self._buffer.settle(
            sum(entry.size_bytes for entry in settled),
            delivered=sum(entry.events for entry, _ in outcome.sent),
            failed=sum(entry.events for entry, _ in outcome.failed),
        )
        if self._spiller is not None:
            self._spiller.note()
        if self.acknowledgements:
            self._acknowledge(outcome)
        for entry, error in outcome.failed:
            if entry.envelope_id not in self.acknowledgements:
                self._buffer.lose(loss_of(entry, error))
        return again

    def _acknowledge(self, outcome: Outcome) -> None:
        for entry, result in outcome.sent:
            acknowledged = self.acknowledgements.get(entry.envelope_id)
            if acknowledged is not None and not acknowledged.done():
                acknowledged.set_result(
                    Published(entry.envelope_id, result.message_id, result.sequence_number)
                )
        for entry, error in outcome.failed:
            acknowledged = self.acknowledgements.get(entry.envelope_id)
            if acknowledged is not None and not acknowledged.done():
                acknowledged.set_exception(error)

    def _has_given_up(
        self, entry: Entry, error: ForebayError, attempt: int, elapsed_ms: int
    ) -> bool:
        """Whether somebody awaits the message and has waited long enough."""
        if entry.envelope_id not in self.acknowledgements:
            return False
        return self._retry.decide(attempt, error, elapsed_ms, random=0.0) is None

    def _delay_s(self, attempt: int) -> float:
        return self._retry.delay_ms(attempt, jitter(self._entropy)) / 1000

    async def _stop(self) -> None:
        """End what runs, keep what can be kept, and tell those who wait."""
        tasks = [*self._calls]
        if self._ticker is not None:
            tasks.append(self._ticker)
        self._ticker = None
        left = [entry for batch in self._calls.values() for entry in batch]
        for task in tasks:
            task.cancel()
        for acknowledged in self.acknowledgements.values():
            if not acknowledged.done():
                acknowledged.set_exception(
                    Closed("The producer was closed before SQS acknowledged the message.")
                )
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._replay is not None and self._spiller is not None and self._spiller.is_open:
            await self._replay.end()
            await self._keep_the_rest(self._replay, left)
            await self._spiller.close()

    async def _keep_the_rest(self, replay: Replay, left: list[Entry]) -> None:
        for packer in self._packers:
            if records := self._buffer.take(packer.incoming):
                self._seal(packer, records, due=True)
        self._take_singles()
        replay.keep(
            entry
            for entry in (*left, *self._lanes.take_back(self._buffer.buffered, keep=()))
            if entry.envelope_id not in self.acknowledgements
        )
        await replay.written()


def _groups(entries: Iterable[Entry]) -> set[str | None]:
    return {entry.group_id for entry in entries}
