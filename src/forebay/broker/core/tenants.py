"""The tenants of a standard queue that may have messages behind its horizon.

A quiet tenant overtakes the noisy ones from there too: pages of its own bring its messages, the
tenant first whose first message is the oldest. The messages themselves are in the journal, so what
is known here is where a tenant's messages begin and end, and may be more than there is.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from msgspec import Struct

from forebay.broker.core.changes import TENANTS_MAX, Position

#: Stale entries that are tolerated before they are swept out, beside one for each tenant.
_STALE_ENTRIES_MIN = 64


class Stretch(Struct, gc=False):
    """Where the messages of a tenant begin and end."""

    first: Position
    last: Position


class Tenants:
    """Tenants by the position of their first message behind the horizon."""

    __slots__ = ("_entries", "_stretches")

    def __init__(self) -> None:
        self._stretches: dict[str, Stretch] = {}
        #: Each tenant at its first position, beside positions that were first once.
        self._entries: list[tuple[Position, str]] = []

    def note(self, group_id: str, position: Position) -> None:
        """A tenant has a message at a position. One tenant too many is not noted."""
        stretch = self._stretches.get(group_id)
        if stretch is None:
            self.add(group_id, position, position)
        elif position > stretch.last:
            stretch.last = position
        elif position < stretch.first:
            self._begin(group_id, stretch, position)

    def add(self, group_id: str, first: Position, last: Position) -> None:
        """Know of a tenant, unless as many are known as may be."""
        if len(self._stretches) < TENANTS_MAX:
            self._stretches[group_id] = stretch = Stretch(first, last)
            self._begin(group_id, stretch, first)

    def go_on(self, group_id: str, first: Position | None) -> None:
        """A page of a tenant came; what it left begins at a position, or is nothing."""
        stretch = self._stretches.get(group_id)
        if first is None:
            self._stretches.pop(group_id, None)
        elif stretch is not None:
            stretch.last = max(stretch.last, first)
            self._begin(group_id, stretch, first)

    def next(
        self, now_ms: int, horizon: Position, passed_over: Callable[[str], bool]
    ) -> tuple[str, Position] | None:
        """The tenant to read a page of, and its first position; None when there is none.

        Its first message, as far as that is known, is the oldest and can be received now.
        `passed_over` says which tenants shall wait; they are few.
        """
        waiting: list[tuple[Position, str]] = []
        found = None
        while found is None and (entry := self._head(horizon)) is not None:
            if entry[0][0] > now_ms:
                break
            if passed_over(entry[1]):
                waiting.append(heappop(self._entries))
            else:
                found = entry
        for entry in waiting:
            heappush(self._entries, entry)
        return None if found is None else (found[1], found[0])

    def forget_passed(self, horizon: Position) -> None:
        """Make room for others, when there is none, where the horizon has passed a tenant's end."""
        if len(self._stretches) == TENANTS_MAX:
            self._stretches = {
                group_id: stretch
                for group_id, stretch in self._stretches.items()
                if stretch.last > horizon
            }

    def _head(self, horizon: Position) -> tuple[Position, str] | None:
        """The first entry of a tenant that may have messages behind the horizon."""
        entries = self._entries
        while entries:
            first, group_id = entries[0]
            stretch = self._stretches.get(group_id)
            if stretch is not None and stretch.first == first:
                if stretch.last > horizon:
                    return entries[0]
                del self._stretches[group_id]
            heappop(entries)
        return None

    def _begin(self, group_id: str, stretch: Stretch, first: Position) -> None:
        stretch.first = first
        heappush(self._entries, (first, group_id))
        if len(self._entries) > 2 * len(self._stretches) + _STALE_ENTRIES_MIN:
            self._entries = [(stretch.first, name) for name, stretch in self._stretches.items()]
            heapify(self._entries)
