"""Things that fall due: a heap whose entries can be moved and withdrawn."""

from __future__ import annotations

import sys
from heapq import heapify, heappop, heappush

#: A time that never comes.
NEVER_MS = sys.maxsize

#: Stale heap entries that are tolerated before the heap is rebuilt, beside one per live entry.
_STALE_ENTRIES_MIN = 64


class Deadlines:
    """Keys with the time each falls due, in ms.

    Withdrawing or moving a key leaves its old heap entry behind; it is recognised as stale when it
    surfaces, and the heap is rebuilt when stale entries outnumber the live ones. Every operation is
    O(log n) amortised, and adding keys in rising order of time is O(1).
    """

    __slots__ = ("_due", "_heap", "first_ms")

    def __init__(self) -> None:
        self._due: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []
        #: No key falls due before this time. It may be early, never late.
        self.first_ms = NEVER_MS

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: int) -> bool:
        return key in self._due

    def due_at(self, key: int) -> int | None:
        """When `key` falls due; None when it is not here."""
        return self._due.get(key)

    def add(self, key: int, due_ms: int) -> None:
        """Add a key, or move it when it is here already."""
        self._due[key] = due_ms
        self.first_ms = min(self.first_ms, due_ms)
        heappush(self._heap, (due_ms, key))
        if len(self._heap) > 2 * len(self._due) + _STALE_ENTRIES_MIN:
            self._heap = [(due, key) for key, due in self._due.items()]
            heapify(self._heap)

    def discard(self, key: int) -> None:
        """Withdraw a key; nothing happens when it is not here."""
        self._due.pop(key, None)

    def earliest(self) -> int | None:
        """When the first key falls due; None when there is none."""
        heap, due = self._heap, self._due
        while heap and due.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        self.first_ms = heap[0][0] if heap else NEVER_MS
        return heap[0][0] if heap else None

    def pop_due(self, now_ms: int) -> int | None:
        """Take out the key that fell due first, at or before `now_ms`; None when none has."""
        if now_ms < self.first_ms:
            return None
        earliest_ms = self.earliest()
        if earliest_ms is None or earliest_ms > now_ms:
            return None
        key = heappop(self._heap)[1]
        del self._due[key]
        return key

    def clear(self) -> None:
        """Take out everything."""
        self._due.clear()
        self._heap.clear()
        self.first_ms = NEVER_MS
