"""Which messages go into the next batch. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from heapq import heappop, heappush

from msgspec import Struct, field

from forebay.producer.entry import Entry
from forebay.protocol import limits


class _Lane(Struct, eq=False):
    """The waiting messages of one group, oldest first, each with its place in the arrivals."""

    entries: deque[tuple[int, Entry]] = field(default_factory=deque)
    size_bytes: int = 0
    busy: bool = False


class Lanes:
    """Messages waiting for their batch.

    On a FIFO queue every message group is a lane: its messages leave in order, and while a batch
    holds some of them the others wait, so that a batch that must be sent again cannot be overtaken.
    On a standard queue there is one lane, which never waits.

    A batch is ready when it is full or when its oldest message is due. The lane whose first message
    is oldest goes first, so no group waits behind another's backlog.
    """

    def __init__(self, *, fifo: bool) -> None:
        self._fifo = fifo
        self._lanes: dict[str | None, _Lane] = {}
        #: The lanes that may be taken from, by the arrival of their first message.
        self._ready: list[tuple[int, str | None]] = []
        self._ready_messages = 0
        self._ready_bytes = 0
        self._arrivals = 0
        self._due_through = 0

    def add(self, entry: Entry) -> None:
        """Put a message at the end of its lane."""
        group = entry.group_id if self._fifo else None
        lane = self._lanes.get(group)
        if lane is None:
            lane = self._lanes[group] = _Lane()
        self._arrivals += 1
        lane.entries.append((self._arrivals, entry))
        lane.size_bytes += entry.size_bytes
        if not lane.busy:
            self._ready_messages += 1
            self._ready_bytes += entry.size_bytes
            if len(lane.entries) == 1:
                heappush(self._ready, (self._arrivals, group))

    def mark_due(self) -> None:
        """Let every message that waits now leave without waiting for its batch to fill."""
        self._due_through = self._arrivals

    def next_batch(
        self, batch_size: int, batch_bytes: int = limits.MESSAGE_BYTES_MAX
    ) -> list[Entry]:
        """Take the next batch; empty when none is ready.

        It has at most `batch_size` messages of at most `batch_bytes` together; no single message is
        larger than that. Its groups are busy until `release`.
        """
        full = self._ready_messages >= batch_size or self._ready_bytes >= batch_bytes
        if not self._ready or not (full or self._ready[0][0] <= self._due_through):
            return []
        batch: list[Entry] = []
        room_bytes = batch_bytes
        while self._ready and len(batch) < batch_size:
            group = self._ready[0][1]
            lane = self._lanes[group]
            if lane.entries[0][1].size_bytes > room_bytes:
                break
            heappop(self._ready)
            while lane.entries and len(batch) < batch_size:
                entry = lane.entries[0][1]
                size_bytes = entry.size_bytes
                if size_bytes > room_bytes:
                    break
                lane.entries.popleft()
                lane.size_bytes -= size_bytes
                self._unready(1, size_bytes)
                room_bytes -= size_bytes
                batch.append(entry)
            if self._fifo:
                lane.busy = True
                self._unready(len(lane.entries), lane.size_bytes)
            elif lane.entries:
                heappush(self._ready, (lane.entries[0][0], group))
                break
        return batch

    def take_back(self, events_max: int, keep: Container[str]) -> list[Entry]:
        """Take messages of a standard queue out of turn, the youngest first, returned oldest first.

        They hold at least `events_max` envelopes if there are so many; those whose ids are in
        `keep` stay.
        """
        lane = self._lanes.get(None)
        if self._fifo or lane is None:
            return []
        taken: list[Entry] = []
        kept: list[tuple[int, Entry]] = []
        while lane.entries and events_max > 0:
            arrival, entry = lane.entries.pop()
            if entry.envelope_id in keep:
                kept.append((arrival, entry))
                continue
            taken.append(entry)
            events_max -= entry.events
            lane.size_bytes -= entry.size_bytes
            self._unready(1, entry.size_bytes)
        lane.entries.extend(reversed(kept))
        # A standard queue has one lane, whose place among the ready is the first of its messages.
        self._ready = [(lane.entries[0][0], None)] if lane.entries else []
        taken.reverse()
        return taken

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not any(lane.entries for lane in self._lanes.values())

    def oldest_ms(self) -> int | None:
        """When the first of the messages that wait was made, as far as the first of each lane."""
        firsts = [lane.entries[0][1].first_ms for lane in self._lanes.values() if lane.entries]
        return min(firsts, default=None)

    def release(self, groups: Iterable[str | None]) -> None:
        """Let the messages of `groups` leave again: no batch holds earlier ones any more."""
        if not self._fifo:
            return
        for group in groups:
            lane = self._lanes[group]
            lane.busy = False
            if not lane.entries:
                del self._lanes[group]
                continue
            self._ready_messages += len(lane.entries)
            self._ready_bytes += lane.size_bytes
            heappush(self._ready, (lane.entries[0][0], group))

    def _unready(self, messages: int, size_bytes: int) -> None:
        self._ready_messages -= messages
        self._ready_bytes -= size_bytes
