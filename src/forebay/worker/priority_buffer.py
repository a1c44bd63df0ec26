"""What was received and waits for a place: three bounded channels, one for each class.

The higher class goes first, and within a class what came first. But nothing waits for ever: once an
item has waited for the age bound or has been overtaken too often, no younger item of any class goes
before it. Pure: time is an argument, in monotonic milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Generic, TypeVar

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.worker.queue import HIGH, LOW, MEDIUM, Priority
from forebay.worker.snapshot import BufferSnapshot, Histogram

T = TypeVar("T")


class Capacities(Struct, frozen=True, kw_only=True):
    """How many items each channel takes.

    Raises SettingsError when one is below 1.
    """

    high: int
    medium: int
    low: int

    def __post_init__(self) -> None:
        for name in ("high", "medium", "low"):
            capacity = getattr(self, name)
            if capacity < 1:
                raise SettingsError(f"The {name} buffer is {capacity}; it must be at least 1.")


class _Channel(Generic[T]):
    __slots__ = ("came_in", "capacity", "entries", "priority", "refused", "wait", "went_out")

    def __init__(self, priority: Priority, capacity: int) -> None:
        self.priority = priority
        self.capacity = capacity
        #: (number, pushed_ms, item): numbers rise with every push into any channel.
        self.entries: deque[tuple[int, int, T]] = deque()
        self.came_in = 0
        self.went_out = 0
        self.refused = 0
        self.wait = Histogram()


class PriorityBuffer(Generic[T]):
    """Three bounded channels. A push and a pop take the same time whatever is in them.

    An item is aged when it has waited `age_bound_s` or when `overtakes_max` younger ones have gone
    before it. Only the oldest item of all need be looked at, for what is older than an aged item is
    aged itself. So an item is overtaken at most `overtakes_max` times, and never once it has waited
    `age_bound_s`. Either as 0 makes the buffer one queue in order of arrival.

    Aged items go in a row: with a low channel of 128 and 1,000 overtakes, a tenth of what goes out
    is low while there is always something high. Keep `overtakes_max` well above the capacities.

    Raises SettingsError when a value is out of range.
    """

    def __init__(
        self, capacities: Capacities, *, age_bound_s: float = 5.0, overtakes_max: int = 1_000
    ) -> None:
        if not age_bound_s >= 0:
            raise SettingsError(f"age_bound_s is {age_bound_s}; it must be at least 0.")
        if overtakes_max < 0:
            raise SettingsError(f"overtakes_max is {overtakes_max}; it must be at least 0.")
        self._age_bound_ms = age_bound_s * 1000
        self._overtakes_max = overtakes_max
        # The highest class first, so that `[-priority]` is the channel of a class.
        self._channels = (
            _Channel[T](HIGH, capacities.high),
            _Channel[T](MEDIUM, capacities.medium),
            _Channel[T](LOW, capacities.low),
        )
        self._next_number = 0
        #: Items that are no longer here. All that came before the oldest item are among them, so
        #: the rest of them have overtaken it.
        self._gone = 0

    def __len__(self) -> int:
        return self._next_number - self._gone

    def push(self, item: T, priority: Priority, now_ms: int, *, place_kept: bool = False) -> bool:
        """Take an item in; False when its channel is full, and nothing is kept.

        `place_kept` says that a place was counted on before, by a receive or by a message that
        waited behind another of its group: the item is then taken in whatever the channel holds.
        """
        channel = self._channels[-priority]
        entries = channel.entries
        if len(entries) >= channel.capacity and not place_kept:
            channel.refused += 1
            return False
        entries.append((self._next_number, now_ms, item))
        self._next_number += 1
        channel.came_in += 1
        return True

    def pop(self, now_ms: int) -> T | None:
        """The item to run now; None when there is none."""
        highest: _Channel[T] | None = None
        oldest: _Channel[T] | None = None
        for channel in self._channels:
            if channel.entries:
                if oldest is None:
                    highest = oldest = channel
                elif channel.entries[0][0] < oldest.entries[0][0]:
                    oldest = channel
        if highest is None or oldest is None:
            return None
        number, pushed_ms, _ = oldest.entries[0]
        aged = (
            now_ms - pushed_ms >= self._age_bound_ms or self._gone - number >= self._overtakes_max
        )
        chosen = oldest if aged else highest
        _, pushed_ms, item = chosen.entries.popleft()
        self._gone += 1
        chosen.went_out += 1
        chosen.wait.add(now_ms - pushed_ms)
        return item

    def size(self, priority: Priority) -> int:
        return len(self._channels[-priority].entries)

    def room(self, priority: Priority) -> int:
        """How many items its channel would take."""
        channel = self._channels[-priority]
        return max(0, channel.capacity - len(channel.entries))

    def oldest_wait_ms(self, now_ms: int) -> int:
        """How long the item that came first of all has waited; 0 when there is none."""
        pushed = [channel.entries[0][1] for channel in self._channels if channel.entries]
        return now_ms - min(pushed) if pushed else 0

    def resize(self, capacities: Capacities) -> None:
        """Change how much is taken in from now on. What is in stays in, also beyond a capacity."""
        high, medium, low = self._channels
        high.capacity = capacities.high
        medium.capacity = capacities.medium
        low.capacity = capacities.low

    def remove(self, items: Collection[T]) -> list[T]:
        """Take these very objects out before their turn; those that were here, in order.

        Takes time in proportion to what is in the buffer. For the bound of an older item they count
        as having overtaken it, so that it may go a little early but never late.
        """
        wanted = {id(item) for item in items}
        removed: list[T] = []
        for channel in self._channels:
            kept: deque[tuple[int, int, T]] = deque()
            for entry in channel.entries:
                if id(entry[2]) in wanted:
                    removed.append(entry[2])
                else:
                    kept.append(entry)
            channel.went_out += len(channel.entries) - len(kept)
            channel.entries = kept
        self._gone += len(removed)
        return removed

    def drain(self) -> list[T]:
        """Take everything out: the higher class first, within a class what came first."""
        drained: list[T] = []
        for channel in self._channels:
            drained += [item for _, _, item in channel.entries]
            channel.went_out += len(channel.entries)
            channel.entries.clear()
        self._gone += len(drained)
        return drained

    def stats(self) -> list[BufferSnapshot]:
        """What each channel shows of itself, the highest class first."""
        return [
            BufferSnapshot(
                priority=channel.priority,
                size=len(channel.entries),
                capacity=channel.capacity,
                came_in=channel.came_in,
                went_out=channel.went_out,
                refused=channel.refused,
                wait=Histogram(list(channel.wait.counts), channel.wait.sum_ms, channel.wait.max_ms),
            )
            for channel in self._channels
        ]
