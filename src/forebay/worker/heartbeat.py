"""Keeping the messages in hand hidden from others for as long as they wait or run.

One extender serves all of them, those that wait for a handler too, in batches of ten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from forebay.client.base import SqsClient
from forebay.clock import Clock
from forebay.worker.batch_calls import Refused, hide, in_tens
from forebay.worker.lease import Lease

_log = logging.getLogger(__name__)

#: A lease that would be due within this part of the visibility timeout is extended together with
#: one that is due now, so that batches fill.
_EARLY_FRACTION = 0.1

#: Pause before extensions that failed are tried again, in seconds.
_AGAIN_S = 1.0


class Extension(NamedTuple):
    """Hide this message until so many seconds from now."""

    lease: Lease
    timeout_s: int


def extension(lease: Lease, now_ms: int, visibility_timeout_s: int) -> Extension | None:
    """What extending a lease now would ask for; None when it cannot become longer."""
    timeout_s = min(visibility_timeout_s, lease.longest_timeout_s(now_ms))
    if now_ms + timeout_s * 1000 <= lease.until_ms:
        return None
    return Extension(lease, timeout_s)


def due_ms(lease: Lease, visibility_timeout_s: int, fraction: float) -> int:
    """When the lease is to be extended: once `fraction` of the visibility timeout has passed."""
    return lease.until_ms - round((1 - fraction) * visibility_timeout_s * 1000)


def extensions_due(
    leases: Iterable[Lease], now_ms: int, *, visibility_timeout_s: int, fraction: float
) -> list[Extension]:
    """What to extend now, and to when. Empty as long as no lease is due."""
    early_ms = now_ms + round(_EARLY_FRACTION * visibility_timeout_s * 1000)
    any_due, extensions = False, []
    for lease in leases:
        lease_due_ms = due_ms(lease, visibility_timeout_s, fraction)
        if lease_due_ms > early_ms or lease.is_over(now_ms):
            continue
        extended = extension(lease, now_ms, visibility_timeout_s)
        if extended is not None:
            extensions.append(extended)
            any_due = any_due or lease_due_ms <= now_ms
    return extensions if any_due else []


def next_beat_ms(
    leases: Iterable[Lease], now_ms: int, *, visibility_timeout_s: int, fraction: float
) -> int:
    """When to look again: a lease is due or runs out.

    A lease taken from now on cannot be due earlier than this.
    """
    beat_ms = now_ms + round(fraction * visibility_timeout_s * 1000)
    for lease in leases:
        if extension(lease, now_ms, visibility_timeout_s) is None:
            beat_ms = min(beat_ms, lease.until_ms)
        else:
            beat_ms = min(beat_ms, due_ms(lease, visibility_timeout_s, fraction))
    return beat_ms


class Heartbeat:
    """Extends the leases it holds until each is let go.

    A lease that SQS refuses to extend, or that runs out because SQS could not be reached or its 12
    hours are over, is marked as lost.
    """

    def __init__(
        self,
        client: SqsClient,
        queue_url: str,
        *,
        visibility_timeout_s: int,
        fraction: float,
        clock: Clock,
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._visibility_timeout_s = visibility_timeout_s
        self._fraction = fraction
        self._clock = clock
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

    async def run(self) -> None:
        """Extend until cancelled."""
        while True:
            now_ms = self._clock.monotonic_ms()
            beat_ms = next_beat_ms(
                self._held,
                now_ms,
                visibility_timeout_s=self._visibility_timeout_s,
                fraction=self._fraction,
            )
            await self._clock.sleep(max(0, beat_ms - now_ms) / 1000)
            if await self.beat():
                await self._clock.sleep(_AGAIN_S)

    async def beat(self) -> bool:
        """Extend what is due, mark what is lost. Returns whether some are to be tried again."""
        now_ms = self._clock.monotonic_ms()
        for lease in [lease for lease in self._held if lease.is_over(now_ms)]:
            self._lose(lease, "its lease ran out")
        due = extensions_due(
            self._held,
            now_ms,
            visibility_timeout_s=self._visibility_timeout_s,
            fraction=self._fraction,
        )
        if not due:
            return False
        self._settled.clear()
        self._extending.update(lease for lease, _ in due)
        try:
            tens = [self._extend(ten, now_ms) for ten in in_tens(due)]
            refused = [refusal for ten in await asyncio.gather(*tens) for refusal in ten]
        finally:
            self._extending.clear()
            self._settled.set()
        passing = [refusal for refusal in refused if refusal.passing]
        if passing:
            _log.warning(
                "%d messages of %s could not be kept hidden, will try again: %s",
                len(passing),
                self._queue_url,
                passing[0].reason,
            )
        return bool(passing)

    async def _extend(self, extensions: Sequence[Extension], now_ms: int) -> list[Refused]:
        leases = [lease for lease, _ in extensions]
        timeouts_s = [timeout_s for _, timeout_s in extensions]
        refused = await hide(self._client, self._queue_url, leases, timeouts_s)
        failed = {refusal.lease for refusal in refused}
        for lease, timeout_s in extensions:
            if lease not in failed:
                lease.until_ms = now_ms + timeout_s * 1000
        for refusal in refused:
            if not refusal.passing:
                self._lose(refusal.lease, refusal.reason)
        return refused

    def _lose(self, lease: Lease, reason: str) -> None:
        if lease in self._held:
            del self._held[lease]
            lease.lost = True
            _log.warning(
                "The lease of message %s of %s is lost, somebody else may get it: %s",
                lease.message_id,
                self._queue_url,
                reason,
            )
