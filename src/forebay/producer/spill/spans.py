"""A set of whole numbers, kept as the spans they form. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Spans:
    """Numbers in spans [start, stop). Spans that touch are one."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __len__(self) -> int:
        """How many spans there are."""
        return len(self._starts)

    def add(self, start: int, stop: int) -> int:
        """Add [start, stop), and return how many of its numbers are new."""
        if start >= stop:
            return 0
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        held = sum(
            max(0, min(stop, self._stops[index]) - max(start, self._starts[index]))
            for index in range(first, last)
        )
        if first < last:
            new_start = min(start, self._starts[first])
            new_stop = max(stop, self._stops[last - 1])
        else:
            new_start, new_stop = start, stop
        self._starts[first:last] = [new_start]
        self._stops[first:last] = [new_stop]
        return stop - start - held

    def around(self, number: int) -> tuple[int, int] | None:
        """The span that has the number."""
        index = bisect_right(self._starts, number) - 1
        if index < 0 or number >= self._stops[index]:
            return None
        return self._starts[index], self._stops[index]

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """What of [start, stop) is not in the set."""
        gaps = []
        index = bisect_right(self._stops, start)
        while start < stop:
            if index == len(self._starts) or self._starts[index] >= stop:
                gaps.append((start, stop))
                break
            if self._starts[index] > start:
                gaps.append((start, self._starts[index]))
            start = self._stops[index]
            index += 1
        return gaps

    def covers(self, start: int, stop: int) -> bool:
        """Whether all of [start, stop) is in the set."""
        return not self.missing(start, stop)

    def count(self) -> int:
        """How many numbers there are."""
        return sum(self._stops) - sum(self._starts)
