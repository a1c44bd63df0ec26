"""The fault plane: what goes wrong, drawn from a seed.

Whatever can misbehave takes a FaultPlane, or None to behave. The same seed and the same calls give
the same faults, so that a failure can be replayed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import MutableSequence
from typing import Any, Protocol

from msgspec import Struct

#: Calls of one action to one FIFO queue that AWS takes in a second, without high throughput.
#: Source: SQSDeveloperGuide/quotas-fifo.html
FIFO_CALLS_PER_SECOND = 300


class FaultPlane(Protocol):
    """Decides, call by call, what goes wrong."""

    def throttles(self, action: str, queue: str, *, fifo: bool, now_ms: int) -> bool:
        """Whether a call is refused because there are too many."""
        ...

    def duplicates(self) -> bool:
        """Whether a message that is delivered from a standard queue stays visible as well."""
        ...

    def reorder(self, messages: MutableSequence[Any]) -> None:
        """Change the order of a delivery of a standard queue in place, or leave it."""
        ...

    def loses_reply(self) -> bool:
        """Whether the answer to a call that was carried out never arrives."""
        ...

    def latency_s(self) -> float:
        """How long an answer is held back, in seconds."""
        ...


class FaultRates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often things go wrong. A probability is from 0 to 1."""

    #: Another seed draws other faults at the same rates.
    seed: int = 1
    #: Of a delivered message being delivered once more.
    duplicate: float = 0.0
    #: Of a delivery being shuffled.
    reorder: float = 0.0
    #: Of an answer being lost after the call was carried out.
    lose_reply: float = 0.0
    #: Median time that an answer is held back, in milliseconds; single ones vary as on a network,
    #: one in a hundred takes about five times as long. AWS's own are between 5 and 15.
    latency_ms: float = 0.0
    #: Calls of one action to one queue in a second; 0 for any number.
    calls_per_second: int = 0
    #: Whether FIFO queues have AWS's limit of 300 calls a second for each action.
    fifo_limits: bool = False


class SeededFaults:
    """A FaultPlane that draws from a seed at given rates."""

    def __init__(self, rates: FaultRates) -> None:
        self._rates = rates
        self._random = random.Random(rates.seed)
        #: The times of the calls of the last second, by action and queue.
        self._calls: dict[tuple[str, str], deque[int]] = {}

    def throttles(self, action: str, queue: str, *, fifo: bool, now_ms: int) -> bool:
        limits = [limit for limit in (self._rates.calls_per_second,) if limit]
        if fifo and self._rates.fifo_limits:
            limits.append(FIFO_CALLS_PER_SECOND)
        if not limits:
            return False
        calls = self._calls.setdefault((action, queue), deque())
        while calls and calls[0] <= now_ms - 1000:
            calls.popleft()
        if len(calls) >= min(limits):
            return True
        calls.append(now_ms)
        return False

    def duplicates(self) -> bool:
        return self._happens(self._rates.duplicate)

    def reorder(self, messages: MutableSequence[Any]) -> None:
        if self._happens(self._rates.reorder):
            self._random.shuffle(messages)

    def loses_reply(self) -> bool:
        return self._happens(self._rates.lose_reply)

    def latency_s(self) -> float:
        if not self._rates.latency_ms:
            return 0.0
        return self._rates.latency_ms / 1000 * self._random.lognormvariate(0, 0.7)

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability
