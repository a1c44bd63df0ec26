"""What goes to the disk instead of the queue, and comes back from there at a bounded share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable
from contextlib import suppress

from forebay.clock import Clock
from forebay.producer.attempts import Attempts
from forebay.producer.batching import Lanes
from forebay.producer.buffer import Buffer
from forebay.producer.delivery import Outcome, loss_of
from forebay.producer.entry import Entry, events_in
from forebay.producer.settings import ProducerSettings
from forebay.producer.spill import SpillToken
from forebay.producer.spilling import Spiller
from forebay.protocol import limits

_log = logging.getLogger(__name__)


class Replay:
    """The way over the disk: messages that failed once or for which memory has no room.

    While the queue is away everything goes this way, and one call at a time finds out whether it is
    back. Beside live traffic replays get a share of the calls.
    """

    def __init__(
        self,
        spiller: Spiller,
        attempts: Attempts,
        *,
        buffer: Buffer,
        lanes: Lanes,
        awaited: Container[str],
        settings: Callable[[], ProducerSettings],
        delay_s: Callable[[int], float],
        clock: Clock,
        dispatch: Callable[[], None],
        idle: Callable[[], None],
    ) -> None:
        """`awaited` has the ids of messages that somebody awaits: these stay in memory.

        `dispatch` is called when the queue works again, and `idle` when nothing is being written.
        """
        self._spiller = spiller
        self._attempts = attempts
        self._buffer = buffer
        self._lanes = lanes
        self._awaited = awaited
        self._settings = settings
        self._delay_s = delay_s
        self._clock = clock
        self._dispatch = dispatch
        self._idle = idle
        #: Messages on their way to the disk, in the order they should lie there.
        self._spilling: list[Entry] = []
        self._writing: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._ended = False

    @property
    def writes(self) -> bool:
        """Whether messages are on their way to the disk."""
        return bool(self._spilling)

    @property
    def calls(self) -> int:
        """Replays under way."""
        return len(self._running)

    async def end(self) -> None:
        """Begin none any more, and end those that run. `keep` and `written` still work."""
        self._ended = True
        running = list(self._running)
        for replay in running:
            replay.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def begin_none(self) -> None:
        """Leave on the disk what is there."""
        self._ended = True

    async def written(self) -> None:
        """Wait until everything that was given to `keep` is on the disk or counted as lost."""
        if self._writing is not None:
            with suppress(asyncio.CancelledError):
                await self._writing

    def relieve(self) -> None:
        """Move to the disk what waits, beyond half of the buffer or while the queue is away."""
        if self._attempts.away and (self._spiller.waits or self._running or self._spilling):
            excess = self._buffer.buffered
        else:
            excess = self._buffer.buffered - self._settings().buffer_size // 2
        excess -= events_in(self._spilling)
        if excess > 0:
            self.keep(self._lanes.take_back(excess, keep=self._awaited))

    def keep(self, entries: Iterable[Entry]) -> None:
        self._spilling.extend(entries)
        if self._spilling and self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._spilling:
                # They count as spilling until they are written.
                entries = list(self._spilling)
                await self._spiller.keep(entries)
                del self._spilling[: len(entries)]
        finally:
            self._writing = None
        self.begin()
        self._idle()

    def begin(self) -> None:
        """Send what was spilled, with one call at a time while the queue is away."""
        if self._ended:
            return
        if self._attempts.away:
            share = 1
        elif self._lanes.empty:
            share = self._settings().concurrency
        else:
            share = max(1, int(self._settings().replay_share * self._settings().concurrency))
        # One at a time: the next begins when this one has read and knows whether there is more.
        if self._spiller.waits and len(self._running) < share:
            replay = asyncio.get_running_loop().create_task(self._replay())
            self._running.add(replay)
            replay.add_done_callback(self._end)

    def _end(self, replay: asyncio.Task[None]) -> None:
        # The next tick begins another one where something is left.
        self._running.discard(replay)
        if not replay.cancelled() and (error := replay.exception()) is not None:
            _log.error("Sending from the spill failed on an unexpected error", exc_info=error)

    async def _replay(self) -> None:
        """Send what was spilled until nothing waits there."""
        attempt = 0
        while not self._ended:
            taken = await self._spiller.read(limits.MESSAGE_BYTES_MAX)
            if not taken:
                return
            if not self._attempts.away:
                self.begin()
            if await self._send(taken):
                attempt = 0
                self._dispatch()
            else:
                attempt += 1
                await self._clock.sleep(self._delay_s(attempt))

    async def _send(self, taken: list[tuple[SpillToken, Entry]]) -> bool:
        """Send messages from the disk once; those that did not get through go back there."""
        # By identity: two messages with one id are two.
        tokens = {id(entry): token for token, entry in taken}
        lanes = Lanes(fifo=False)
        for _, entry in taken:
            lanes.add(entry)
        lanes.mark_due()
        works = True
        try:
            while (
                works
                and not self._ended
                and (batch := lanes.next_batch(self._settings().batch_size))
            ):
                outcome = await self._attempts.send(batch, self._settings().timeout_ms, ())
                await self._settle(outcome, tokens)
                works = not outcome.again
        finally:
            if tokens:
                await self._spiller.hand_back(list(tokens.values()))
        return works

    async def _settle(self, outcome: Outcome, tokens: dict[int, SpillToken]) -> None:
        """Let go of what an attempt has settled, and take it out of `tokens`."""
        settled = [entry for entry, _ in (*outcome.sent, *outcome.failed)]
        for entry, error in outcome.failed:
            self._buffer.lose(loss_of(entry, error))
        if settled:
            await self._spiller.acknowledge(
                [tokens.pop(id(entry)) for entry in settled],
                delivered=sum(entry.events for entry, _ in outcome.sent),
                failed=sum(entry.events for entry, _ in outcome.failed),
            )
