"""Keeping the messages in hand hidden from others for as long as they wait or run.

One extender serves all of them, those that wait for a handler too, in batches of ten.

Extensions grow with the time that a message has spent here: one hides it for the visibility timeout
or for half of the time since its receive, whichever is longer, up to `heartbeat_max_s`. A job of
two hours then costs some forty calls, not five hundred. The price is paid when a worker dies
without releasing: its message stays hidden for half as long again as it has worked on it, and never
for longer than the cap. A drain and a failure release at once, whatever the extension was.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from forebay.worker.batch_calls import BatchCalls, Refused, in_tens
from forebay.worker.context import Context
from forebay.worker.lease import Lease

#: A lease that would be due within this part of its extension is extended together with one that is
#: due now, so that batches fill.
_EARLY_FRACTION = 0.1

#: The part of the time already spent for which an extension hides a message.
_GROWTH = 0.5

#: Pause before extensions that failed are tried again, in seconds.
_AGAIN_S = 1.0


class Rhythm(Struct, frozen=True):
    """When leases are extended, and for how long."""

    visibility_timeout_s: int
    #: The part of an extension after which the next is due.
    fraction: float
    #: Longest extension, in seconds; a longer visibility timeout is kept.
    longest_s: int

    def extension_s(self, lease: Lease, now_ms: int) -> int:
        """For how long an extension made now hides the message, in seconds.

        0 when it would end no later than the lease does.
        """
        spent_s = (now_ms - lease.received_at_ms) // 1000
        grown_s = max(self.visibility_timeout_s, min(self.longest_s, int(spent_s * _GROWTH)))
        timeout_s = min(grown_s, lease.longest_timeout_s(now_ms))
        return timeout_s if now_ms + timeout_s * 1000 > lease.until_ms else 0

    def due_ms(self, lease: Lease, now_ms: int) -> int:
        """When to extend the lease. Its end, when it cannot become longer."""
        if not self.extension_s(lease, now_ms):
            return lease.until_ms
        return lease.until_ms - round((1 - self.fraction) * (lease.until_ms - lease.hidden_at_ms))

    def next_beat_ms(self, leases: Iterable[Lease], now_ms: int) -> int:
        """When to look again: a lease is due or runs out.

        A lease taken from now on cannot be due earlier than this.
        """
        new_ms = now_ms + round(self.fraction * self.visibility_timeout_s * 1000)
        return min((new_ms, *(self.due_ms(lease, now_ms) for lease in leases)))


class Extension(NamedTuple):
    """Hide this message until so many seconds from now."""

    lease: Lease
    timeout_s: int


def extensions_due(leases: Iterable[Lease], now_ms: int, rhythm: Rhythm) -> list[Extension]:
    """What to extend now, and to when. Empty as long as no lease is due."""
    any_due, extensions = False, []
    for lease in leases:
        early_ms = now_ms + round(_EARLY_FRACTION * (lease.until_ms - lease.hidden_at_ms))
        due_ms = rhythm.due_ms(lease, now_ms)
        if due_ms > early_ms or lease.is_over(now_ms):
            continue
        timeout_s = rhythm.extension_s(lease, now_ms)
        if timeout_s:
            extensions.append(Extension(lease, timeout_s))
            any_due = any_due or due_ms <= now_ms
    return extensions if any_due else []


class Heartbeat:
    """Extends the leases that it holds until each is let go.

    A lease that SQS refuses to extend is over at once; one that runs out because SQS could not be
    reached or its 12 hours are over is no longer extended. The handler sees it from `lease_lost`.
    """

    def __init__(self, context: Context, calls: BatchCalls, rhythm: Rhythm) -> None:
        self._context = context
        self._calls = calls
        self._rhythm = rhythm
        self._held: dict[Lease, None] = {}
        self._extending: set[Lease] = set()
        self._settled = asyncio.Event()

    def hold(self, lease: Lease) -> None:
        self._held[lease] = None

    def let_go(self, lease: Lease) -> None:
        self._held.pop(lease, None)

    async def settled(self, leases: Iterable[Lease]) -> None:
        """Wait until no extension of these is under way.

        An extension that arrives after a message was made visible would hide it again, so let a
        lease go and await this before changing its visibility.
        """
        leases = list(leases)
        while not self._extending.isdisjoint(leases):
            await self._settled.wait()

    async def extend(self, lease: Lease, duration_s: float) -> bool:
        """Hide this message for at least so long from now; SQS takes up to 12 hours in all.

        Returns False when SQS could not be told, or when somebody else may have the message.
        """
        await self.settled([lease])
        now_ms = self._context.clock.monotonic_ms()
        timeout_s = min(math.ceil(duration_s), lease.longest_timeout_s(now_ms))
        if not lease.is_over(now_ms) and now_ms + timeout_s * 1000 > lease.until_ms:
            return not await self._extend_all([Extension(lease, timeout_s)], now_ms)
        return not lease.is_over(now_ms)

    async def run(self) -> None:
        """Extend until cancelled."""
        clock, again = self._context.clock, False
        while True:
            now_ms = clock.monotonic_ms()
            beat_ms = self._rhythm.next_beat_ms(self._held, now_ms)
            if again:
                beat_ms = max(beat_ms, now_ms + round(_AGAIN_S * 1000))
            await self._context.loop_watch.sleep_until(beat_ms)
            again = await self.beat()

    async def beat(self) -> bool:
        """Extend what is due, let go of what is lost. Returns whether to try some again."""
        now_ms = self._context.clock.monotonic_ms()
        over = [lease for lease in self._held if lease.is_over(now_ms)]
        self._lose([Refused(lease, passing=False, reason="ran out") for lease in over], now_ms)
        held = (lease for lease in self._held if lease not in self._extending)
        due = extensions_due(held, now_ms, self._rhythm)
        refused = await self._extend_all(due, now_ms) if due else []
        return any(refusal.passing for refusal in refused)

    async def _extend_all(self, extensions: Sequence[Extension], now_ms: int) -> list[Refused]:
        leases = [lease for lease, _ in extensions]
        self._settled.clear()
        self._extending.update(leases)
        try:
            tens = [self._extend(ten, now_ms) for ten in in_tens(extensions)]
            return [refusal for ten in await asyncio.gather(*tens) for refusal in ten]
        finally:
            self._extending.difference_update(leases)
            self._settled.set()

    async def _extend(self, extensions: Sequence[Extension], now_ms: int) -> list[Refused]:
        leases = [lease for lease, _ in extensions]
        refused = await self._calls.hide(leases, [timeout_s for _, timeout_s in extensions])
        failed = {refusal.lease for refusal in refused}
        answered_ms = self._context.clock.monotonic_ms()
        for lease, timeout_s in extensions:
            # A lease that ran out meanwhile may be somebody else's, whatever SQS answered.
            if lease not in failed and not lease.is_over(answered_ms):
                lease.hidden_at_ms = now_ms
                lease.until_ms = now_ms + timeout_s * 1000
        self._lose([refusal for refusal in refused if not refusal.passing], answered_ms)
        return refused

    def _lose(self, refused: Sequence[Refused], now_ms: int) -> None:
        lost = [refusal for refusal in refused if refusal.lease in self._held]
        for refusal in refused:
            refusal.lease.until_ms = min(refusal.lease.until_ms, now_ms)
            self.let_go(refusal.lease)
        self._calls.complain("Lease lost, somebody else may get the message", lost)
