"""Giving messages back: visible to everybody again, at once or after a delay."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from forebay.client.base import SqsClient
from forebay.clock import Clock
from forebay.worker.acknowledge import Spawn
from forebay.worker.batch_calls import Refused, hide, in_tens, persist
from forebay.worker.heartbeat import Heartbeat
from forebay.worker.lease import Lease
from forebay.worker.ledger import Ending

_log = logging.getLogger(__name__)


class Release(NamedTuple):
    """A message to give back, and what that counts as."""

    lease: Lease
    ending: Ending


class Releaser:
    """Makes messages visible again.

    Messages of one group that are given back together get the same delay in the same call, so that
    they become visible at one moment. SQS itself shows none of them before one that precedes it.
    """

    def __init__(
        self,
        client: SqsClient,
        queue_url: str,
        *,
        heartbeat: Heartbeat,
        clock: Clock,
        entropy: Callable[[int], bytes],
        spawn: Spawn,
        ended: Callable[[Lease, Ending], None],
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._heartbeat = heartbeat
        self._clock = clock
        self._entropy = entropy
        self._spawn = spawn
        self._ended = ended

    def release(self, releases: Sequence[Release], delay_s: int = 0) -> None:
        """Make these messages visible after whole seconds. Those whose lease is over are lost."""
        now_ms = self._clock.monotonic_ms()
        mine = []
        for release in releases:
            self._heartbeat.let_go(release.lease)
            if release.lease.is_over(now_ms):
                self._ended(release.lease, Ending.LOST)
            else:
                mine.append(release)
        if mine:
            self._spawn(self._release(mine, delay_s))

    async def _release(self, releases: Sequence[Release], delay_s: int) -> None:
        await self._heartbeat.settled(release.lease for release in releases)
        await asyncio.gather(*(self._release_ten(ten, delay_s) for ten in in_tens(releases)))

    async def _release_ten(self, releases: Sequence[Release], delay_s: int) -> None:
        endings = dict(releases)

        async def show(leases: Sequence[Lease]) -> list[Refused]:
            now_ms = self._clock.monotonic_ms()
            timeouts_s = [min(delay_s, lease.longest_timeout_s(now_ms)) for lease in leases]
            return await hide(self._client, self._queue_url, leases, timeouts_s)

        await persist(
            show,
            list(endings),
            clock=self._clock,
            entropy=self._entropy,
            done=lambda lease: self._ended(lease, endings[lease]),
            refused=self._refused,
        )

    def _refused(self, refused: Refused) -> None:
        _log.warning(
            "Message %s of %s could not be given back and waits for its visibility timeout: %s",
            refused.lease.message_id,
            self._queue_url,
            refused.reason,
        )
        self._ended(refused.lease, Ending.LOST)
