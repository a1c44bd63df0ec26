"""What holds receives back: the permits of a worker, and the breakers of its handlers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from forebay.worker.breaker import CircuitBreaker
from forebay.worker.permits import Permit, speaks_for

_log = logging.getLogger(__name__)


class Gate:
    """Asks every permit that speaks for a queue. One that cannot be asked lets nothing come."""

    def __init__(self, permits: Sequence[Permit]) -> None:
        self._permits = list(permits)
        self._broken: set[str] = set()

    def free(self, queue: str, now_ms: int) -> int | None:
        """How many more messages of a queue may be received; None for any number."""
        bounds = [
            free
            for permit in self._permits
            if speaks_for(permit, queue) and (free := self._ask(permit, now_ms)) is not None
        ]
        return min(bounds, default=None)

    def held_back(self, now_ms: int) -> dict[str, str]:
        """Why receives are held back, by the name of the permit."""
        return {
            permit.name: f"{permit.name} cannot be asked; see the log"
            if permit.name in self._broken
            else permit.reason
            for permit in self._permits
            if self._ask(permit, now_ms) == 0
        }

    def _ask(self, permit: Permit, now_ms: int) -> int | None:
        try:
            free = permit.free(now_ms)
        except Exception:
            if permit.name not in self._broken:
                self._broken.add(permit.name)
                _log.exception("The permit %s cannot be asked, so nothing comes.", permit.name)
            return 0
        self._broken.discard(permit.name)
        return free

    def watch(self, breaker: CircuitBreaker, queue: str) -> None:
        """A message of this queue goes to a handler with this breaker."""
        if queue not in breaker.queues:
            breaker.queues.add(queue)
            if breaker not in self._permits:
                self._permits.append(breaker)
