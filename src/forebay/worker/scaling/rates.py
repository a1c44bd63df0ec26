"""How much happens in a second, from counts that only grow."""

from __future__ import annotations

from collections import deque


class Rate:
    """The rate of a count over the latest seconds.

    Reading it changes nothing, so any number of readers see the same; and what happened long ago
    does not count any more.
    """

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_ms = window_s * 1000
        self._samples: deque[tuple[int, float]] = deque()

    def observe(self, total: float, now_ms: int) -> None:
        """The count at this moment. It may also fall, as a number of visible messages does."""
        samples = self._samples
        samples.append((now_ms, total))
        while len(samples) > 2 and samples[1][0] <= now_ms - self._window_ms:
            samples.popleft()

    @property
    def per_s(self) -> float | None:
        """None before two observations at different times."""
        if not self._samples:
            return None
        (first_ms, first), (last_ms, last) = self._samples[0], self._samples[-1]
        return (last - first) * 1000 / (last_ms - first_ms) if last_ms > first_ms else None
