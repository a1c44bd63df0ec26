"""Giving messages back: visible to everybody again, at once or after a delay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from forebay.backoff import jitter
from forebay.worker.batch_calls import BatchCalls, Refused, in_tens
from forebay.worker.context import Context
from forebay.worker.heartbeat import Heartbeat
from forebay.worker.lease import Event, Lease

#: Messages given back at once without a pause. More of them spread their calls over `_SPREAD_S`
#: seconds, so that a fleet which stops together does not send them all at once.
_AT_ONCE_MAX = 50
_SPREAD_S = 1.0


class Releaser:
    """Makes messages visible again.

    What is given back in one turn of the event loop goes together, ten at a time, whatever it is
    given back for. Messages of one group go in order: in one call, or in one call after another.
    SQS itself shows none of them before one that precedes it.
    """

    def __init__(self, context: Context, calls: BatchCalls, heartbeat: Heartbeat) -> None:
        self._context = context
        self._calls = calls
        self._heartbeat = heartbeat
        #: What is to be given back, and after how many seconds each becomes visible.
        self._pending: dict[Lease, int] = {}

    def release(self, leases: Iterable[Lease], delay_s: int = 0) -> None:
        """Make these messages visible after whole seconds. Those whose lease is over are lost."""
        now_ms = self._context.clock.monotonic_ms()
        for lease in leases:
            self._heartbeat.let_go(lease)
            if lease.is_over(now_ms):
                lease.step(Event.GIVEN_UP)
            else:
                if not self._pending:
                    self._context.spawn(self._release_pending())
                self._pending[lease] = delay_s

    async def _release_pending(self) -> None:
        delays_s, self._pending = self._pending, {}
        await self._heartbeat.settled(delays_s)
        spread_s = _SPREAD_S if len(delays_s) > _AT_ONCE_MAX else 0.0
        await asyncio.gather(
            *(self._release_chain(chain, delays_s, spread_s) for chain in chains(delays_s))
        )

    async def _release_chain(
        self, chain: Sequence[Sequence[Lease]], delays_s: dict[Lease, int], spread_s: float
    ) -> None:
        if spread_s:
            await self._context.clock.sleep(spread_s * jitter(self._context.entropy))
        for ten in chain:
            await self._calls.persist(
                partial(self._show, delays_s),
                ten,
                complaint="Not given back, and hidden until the visibility timeout ends",
            )

    async def _show(self, delays_s: dict[Lease, int], leases: Sequence[Lease]) -> list[Refused]:
        now_ms = self._context.clock.monotonic_ms()
        timeouts_s = [min(delays_s[lease], lease.longest_timeout_s(now_ms)) for lease in leases]
        return await self._calls.hide(leases, timeouts_s)


def chains(leases: Iterable[Lease]) -> list[list[Sequence[Lease]]]:
    """Batches of at most ten. Those of one list go one after another, the lists side by side.

    Each group is together and in order, and a group that one batch cannot hold goes on in the next
    batch of the same list.
    """
    groups: dict[str | None, list[Lease]] = {}
    for lease in leases:
        groups.setdefault(lease.group_id, []).append(lease)
    found: list[list[Sequence[Lease]]] = []
    for ten in in_tens([lease for group in groups.values() for lease in group]):
        group_id = ten[0].group_id
        if group_id is not None and found and found[-1][-1][-1].group_id == group_id:
            found[-1].append(ten)
        else:
            found.append([ten])
    return found
