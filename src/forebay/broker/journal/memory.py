"""A journal that keeps everything in this process and loses it with the process."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Iterator

from forebay.broker.core.changes import (
    TENANTS_MAX,
    BacklogRecord,
    ChangeSet,
    DeduplicationRow,
    DeliveryRow,
    MessageRow,
    MoveTaskRecord,
    Page,
    PageRequest,
    Position,
    QueueRecord,
    Snapshot,
    Tally,
)
from forebay.broker.journal.base import Durability, Room, cut_page

#: Positions of messages that are gone that are tolerated, beside as many as there are messages.
_STALE_POSITIONS_MIN = 64

#: What the row of a message takes beside its content, with its place in the order, in bytes.
_MESSAGE_BYTES = 500

#: What the row of a deduplication id takes, in bytes.
_DEDUPLICATION_BYTES = 450


class MemoryJournal:
    """A Journal of dicts: for tests, for demonstrations, and for `--durability memory`."""

    durability: Durability = Durability.MEMORY
    is_quick: bool = True
    shortage: str | None = None
    room: Room | None = None

    def __init__(self) -> None:
        self._queues: dict[int, QueueRecord] = {}
        self._messages: dict[int, MessageRow] = {}
        self._deliveries: dict[int, DeliveryRow] = {}
        # An OrderedDict, because the first key of a dict is behind all that were removed before it.
        self._deduplications: OrderedDict[int, DeduplicationRow] = OrderedDict()
        self._move_tasks: dict[int, MoveTaskRecord] = {}
        self._tallies: dict[int, Tally] = {}
        self._recounted_delays: dict[int, tuple[int, list[tuple[int, int]]]] = {}
        #: Where the messages of each queue stand, in order, beside some that are gone: all of them
        #: under None, and those of each message group of a standard queue under its id.
        self._order: dict[tuple[int, str | None], list[Position]] = {}
        self._ordered = 0
        #: Size of all bodies and encoded attributes.
        self._content_size = 0
        self._next_sequence = 1
        self._next_queue_number = 1
        self._clock_ms = 0

    @property
    def memory_bytes(self) -> int:
        return (
            self._content_size
            + _MESSAGE_BYTES * len(self._messages)
            + _DEDUPLICATION_BYTES * len(self._deduplications)
        )

    def load(self) -> Snapshot:
        return Snapshot(
            queues=[record for _, record in sorted(self._queues.items())],
            messages=[
                (self._messages[sequence], delivery)
                for sequence, delivery in sorted(self._deliveries.items())
                if sequence in self._messages
            ],
            deduplications=[row for _, row in sorted(self._deduplications.items())],
            next_sequence=self._next_sequence,
            next_queue_number=self._next_queue_number,
            clock_ms=self._clock_ms,
            move_tasks=[record for _, record in sorted(self._move_tasks.items())],
            backlogs=[
                self._backlog(number, tally)
                for number, tally in sorted(self._tallies.items())
                if tally != Tally()
            ],
        )

    def commit(self, changes: ChangeSet) -> None:
        self._queues.update(changes.queues)
        for row in changes.messages:
            self._messages[row[0]] = row
            self._content_size += _size_of(row)
            self._put_in_order(row)
        self._tallies.update(changes.tallies)
        self._deliveries.update(changes.deliveries)
        self._deduplications.update((row[0], row) for row in changes.deduplications)
        self._next_sequence = changes.next_sequence
        self._next_queue_number = changes.next_queue_number
        self._clock_ms = changes.clock_ms
        for number, task in changes.move_tasks.items():
            self._move_tasks.pop(number, None)
            if task is not None:
                self._move_tasks[number] = task
        for sequence in changes.removed_messages:
            if (gone := self._messages.pop(sequence, None)) is not None:
                self._content_size -= _size_of(gone)
            self._deliveries.pop(sequence, None)
        for number, through in changes.purged.items():
            self._purge(number, through)
        self._recounted_delays.update(changes.recounted_delays)
        for number in changes.removed_queues:
            self._queues.pop(number, None)
            self._tallies.pop(number, None)
            self._purge(number, changes.next_sequence - 1)
        while self._deduplications:
            if next(iter(self._deduplications)) > changes.forgotten_deduplications:
                break
            self._deduplications.popitem(last=False)
        if self._ordered > 4 * len(self._messages) + _STALE_POSITIONS_MIN:
            self._forget_stale_positions()

    def page(self, request: PageRequest) -> Page:
        return cut_page(request, self._rows_behind(request))

    def look(self) -> None:
        """There is room."""

    def close(self) -> None:
        """What was committed stays as long as the object does."""

    def _put_in_order(self, row: MessageRow) -> None:
        number, group_id, position = row[1], row[8], (row[11], row[0])
        order = self._order.setdefault((number, None), [])
        if not order or order[-1] < position:
            order.append(position)
        else:
            insort(order, position)
        self._ordered += 1
        if group_id is not None and row[11] != row[0]:
            insort(self._order.setdefault((number, group_id), []), position)
            self._ordered += 1

    def _rows_behind(self, request: PageRequest) -> Iterator[MessageRow]:
        order = self._order.get((request.queue_number, request.group_id), [])
        for index in range(bisect_right(order, request.after), len(order)):
            sequence = order[index][1]
            if sequence in self._messages and sequence not in self._deliveries:
                yield self._messages[sequence]

    def _backlog(self, number: int, tally: Tally) -> BacklogRecord:
        first = self.page(PageRequest(0, number, (tally.floor_key, 0), 1, 1)).rows
        through, recounted = self._recounted_delays.get(number, (0, []))
        delayed: Counter[int] = Counter()
        for available_at_ms, count in recounted:
            if available_at_ms > self._clock_ms:
                delayed[available_at_ms] += count
        for row in self._messages.values():
            if row[1] == number and row[0] > through and row[5] > max(row[4], self._clock_ms):
                delayed[row[5]] += 1
        enqueued_at_ms = first[0][4] if first else self._clock_ms
        tenants = sorted(self._tenants(number, tally.floor_key))[:TENANTS_MAX]
        return BacklogRecord(number, tally, enqueued_at_ms, sorted(delayed.items()), tenants)

    def _tenants(self, number: int, floor_key: int) -> Iterator[tuple[str, int, int]]:
        for (queue_number, group_id), order in self._order.items():
            if queue_number != number or group_id is None:
                continue
            keys = [key for key, sequence in order if sequence in self._messages]
            if keys and keys[-1] >= floor_key:
                yield group_id, keys[bisect_left(keys, floor_key)], keys[-1]

    def _forget_stale_positions(self) -> None:
        for whose, order in self._order.items():
            self._order[whose] = [place for place in order if place[1] in self._messages]
        self._order = {whose: order for whose, order in self._order.items() if order}
        self._ordered = sum(map(len, self._order.values()))

    def _purge(self, number: int, through: int) -> None:
        self._recounted_delays.pop(number, None)
        for rows in (self._messages, self._deduplications):
            gone = [
                sequence
                for sequence, row in rows.items()
                if sequence <= through and row[1] == number
            ]
            for sequence in gone:
                del rows[sequence]
                self._deliveries.pop(sequence, None)
        self._content_size = sum(map(_size_of, self._messages.values()))


def _size_of(row: MessageRow) -> int:
    """The size of a message's body, in characters, and of its encoded attributes."""
    return len(row[3]) + len(row[10] or b"")
