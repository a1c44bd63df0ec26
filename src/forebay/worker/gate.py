"""What holds receives back: the permits of a worker, and the breakers of its handlers."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.worker.breaker import CircuitBreaker
from forebay.worker.permits import Permit, speaks_for


class Gate:
    """Asks every permit that speaks for a queue."""

    def __init__(self, permits: Sequence[Permit]) -> None:
        self._permits = list(permits)

    def free(self, queue: str, now_ms: int) -> int | None:
        """How many more messages of a queue may be received; None for any number."""
        bounds = [
            free
            for permit in self._permits
            if speaks_for(permit, queue) and (free := permit.free(now_ms)) is not None
        ]
        return min(bounds, default=None)

    def held_back(self, now_ms: int) -> dict[str, str]:
        """Why receives are held back, by the name of the permit."""
        return {permit.name: permit.reason for permit in self._permits if permit.free(now_ms) == 0}

    def watch(self, breaker: CircuitBreaker, queue: str) -> None:
        """A message of this queue goes to a handler with this breaker."""
        if queue not in breaker.queues:
            breaker.queues.add(queue)
            if breaker not in self._permits:
                self._permits.append(breaker)
