"""The fault plane: what goes wrong, drawn from a seed.

Whatever can misbehave takes a FaultPlane, or None to behave. The same seed and the same calls give
the same faults, so that a failure can be replayed. Each kind of fault has draws of its own: to ask
for another kind changes none of the others.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from collections.abc import MutableSequence
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers

#: Calls of one action to one FIFO queue that AWS takes in a second, without high throughput.
#: Source: SQSDeveloperGuide/quotas-fifo.html
FIFO_CALLS_PER_SECOND = 300


class Partition(NamedTuple):
    """A time in which nothing gets through, in milliseconds since the faults began."""

    begins_ms: int
    ends_ms: int


class FaultPlane(Protocol):
    """Decides, call by call, what goes wrong."""

    def throttles(self, action: str, queue: str, *, fifo: bool, now_ms: int) -> bool:
        """Whether a call is refused because there are too many."""
        ...

    def duplicates(self) -> bool:
        """Whether a message that is delivered from a standard queue will be delivered once more."""
        ...

    def reorder(self, messages: MutableSequence[Any]) -> bool:
        """Change the order of a delivery of a standard queue in place, or leave it.

        Answers whether it was changed.
        """
        ...

    def loses_reply(self) -> bool:
        """Whether the answer to a call that was carried out never arrives."""
        ...

    def latency_s(self) -> float:
        """How long an answer is held back, in seconds."""
        ...

    def purge_takes(self) -> bool:
        """Whether a message that was sent soon after a purge of its queue is purged as well."""
        ...

    def partition(self, now_ms: int) -> Partition | None:
        """The partition that is under way or comes next; None when there is none any more."""
        ...


class FaultRates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often things go wrong. A probability is from 0 to 1. Times are those of the queues.

    Raises SettingsError, which names the field and its range, for a value that is out of it.
    """

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
    #: Of an answer being held back for a time of `latency_ms`.
    late: float = 1.0
    #: Of a call being refused as if there were too many.
    throttle: float = 0.0
    #: Calls of one action to one queue in a second; 0 for any number.
    calls_per_second: int = 0
    #: Whether FIFO queues have AWS's limit of 300 calls a second for each action.
    fifo_limits: bool = False
    #: Of a message being purged that was sent within a minute after a purge of its queue.
    purge_loses: float = 0.0
    #: One partition comes in each span of so many seconds, at a moment that the seed draws; 0 for
    #: none.
    partition_every_s: float = 0.0
    #: How long a partition lasts, in seconds.
    partition_for_s: float = 0.0

    def __post_init__(self) -> None:
        require_numbers(self, "")
        for name in ("duplicate", "reorder", "lose_reply", "late", "throttle", "purge_loses"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be 0 to 1.")
        for name in ("latency_ms", "calls_per_second", "partition_every_s", "partition_for_s"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must not be negative.")
            if not math.isfinite(getattr(self, name)):
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be finite.")
        if bool(self.partition_every_s) != bool(self.partition_for_s):
            raise SettingsError("partition_every_s and partition_for_s go together. Give both.")
        if self.partition_every_s and self.partition_for_s >= self.partition_every_s:
            raise SettingsError(
                f"partition_for_s is {self.partition_for_s}; it must be less than"
                f" partition_every_s, which is {self.partition_every_s}."
            )


class SeededFaults:
    """A FaultPlane that draws from a seed at given rates."""

    def __init__(self, rates: FaultRates) -> None:
        self._rates = rates
        #: What each kind of fault draws from.
        self._draws: dict[str, random.Random] = {}
        #: The times of the calls of the last second, by action and queue.
        self._calls: defaultdict[tuple[str, str], deque[int]] = defaultdict(deque)

    def throttles(self, action: str, queue: str, *, fifo: bool, now_ms: int) -> bool:
        if self._happens("throttle", self._rates.throttle):
            return True
        limits = [limit for limit in (self._rates.calls_per_second,) if limit]
        if fifo and self._rates.fifo_limits:
            limits.append(FIFO_CALLS_PER_SECOND)
        if not limits:
            return False
        calls = self._calls[action, queue]
        while calls and calls[0] <= now_ms - 1000:
            calls.popleft()
        if len(calls) >= min(limits):
            return True
        calls.append(now_ms)
        return False

    def duplicates(self) -> bool:
        return self._happens("duplicate", self._rates.duplicate)

    def reorder(self, messages: MutableSequence[Any]) -> bool:
        if len(messages) < 2 or not self._happens("reorder", self._rates.reorder):
            return False
        before = list(messages)
        self._draw("order").shuffle(messages)
        return list(messages) != before

    def loses_reply(self) -> bool:
        return self._happens("lose_reply", self._rates.lose_reply)

    def latency_s(self) -> float:
        if not self._rates.latency_ms or not self._happens("late", self._rates.late):
            return 0.0
        return self._rates.latency_ms / 1000 * self._draw("latency").lognormvariate(0, 0.7)

    def purge_takes(self) -> bool:
        return self._happens("purge_loses", self._rates.purge_loses)

    def partition(self, now_ms: int) -> Partition | None:
        every_ms = self._rates.partition_every_s * 1000
        for_ms = self._rates.partition_for_s * 1000
        if not every_ms:
            return None
        number = int(now_ms // every_ms)
        while True:
            # Drawn anew for each, so that it depends on nothing but its number.
            drawn = random.Random(f"{self._rates.seed} partition {number}").random()
            begins_ms = number * every_ms + drawn * (every_ms - for_ms)
            partition = Partition(int(begins_ms), int(begins_ms + for_ms))
            if now_ms < partition.ends_ms:
                return partition
            number += 1

    def _happens(self, kind: str, probability: float) -> bool:
        return probability > 0 and self._draw(kind).random() < probability

    def _draw(self, kind: str) -> random.Random:
        drawn = self._draws.get(kind)
        if drawn is None:
            drawn = self._draws[kind] = random.Random(f"{self._rates.seed} {kind}")
        return drawn
