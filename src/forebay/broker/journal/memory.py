"""A journal that keeps everything in this process and loses it with the process."""

from __future__ import annotations

from bisect import bisect_right, insort

from forebay.broker.core.changes import (
    BacklogRecord,
    ChangeSet,
    DeduplicationRow,
    DeliveryRow,
    MessageRow,
    MoveTaskRecord,
    Page,
    PageRequest,
    QueueRecord,
    Snapshot,
    Tally,
)
from forebay.broker.journal.base import Durability

#: Positions of messages that are gone that are tolerated, beside one for each message.
_STALE_POSITIONS_MIN = 64


class MemoryJournal:
    """A Journal of dicts: for tests, for demonstrations, and for `--durability memory`."""

    durability = Durability.MEMORY

    def __init__(self) -> None:
        self._queues: dict[int, QueueRecord] = {}
        self._messages: dict[int, MessageRow] = {}
        self._deliveries: dict[int, DeliveryRow] = {}
        self._deduplications: dict[int, DeduplicationRow] = {}
        self._move_tasks: dict[int, MoveTaskRecord] = {}
        self._tallies: dict[int, Tally] = {}
        #: Page key and sequence of the messages of each queue, in order, beside some that are gone.
        self._order: dict[int, list[tuple[int, int]]] = {}
        self._ordered = 0
        self._next_sequence = 1
        self._next_queue_number = 1
        self._clock_ms = 0

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
            insort(self._order.setdefault(row[1], []), (row[11], row[0]))
            self._ordered += 1
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
            self._messages.pop(sequence, None)
            self._deliveries.pop(sequence, None)
        for number, through in changes.purged.items():
            self._purge(number, through)
        for number in changes.removed_queues:
            self._queues.pop(number, None)
            self._tallies.pop(number, None)
            self._purge(number, changes.next_sequence - 1)
        if changes.forgotten_deduplications:
            self._deduplications = {
                sequence: row
                for sequence, row in self._deduplications.items()
                if sequence > changes.forgotten_deduplications
            }
        if self._ordered > 2 * len(self._messages) + _STALE_POSITIONS_MIN:
            self._forget_stale_positions()

    def page(self, request: PageRequest) -> Page:
        order = self._order.get(request.queue_number, [])
        rows: list[MessageRow] = []
        body_size = 0
        for index in range(bisect_right(order, request.after), len(order)):
            sequence = order[index][1]
            if sequence not in self._messages or sequence in self._deliveries:
                continue
            if len(rows) == request.messages_max or body_size >= request.body_size_max:
                return Page(rows, is_last=False)
            rows.append(self._messages[sequence])
            body_size += len(rows[-1][3])
        return Page(rows, is_last=True)

    def close(self) -> None:
        """What was committed stays as long as the object does."""

    def _backlog(self, number: int, tally: Tally) -> BacklogRecord:
        first = self.page(PageRequest(0, number, (tally.floor_key, 0), 1, 1)).rows
        delayed: dict[int, int] = {}
        for row in self._messages.values():
            if row[1] == number and row[5] > max(row[4], self._clock_ms):
                delayed[row[5]] = delayed.get(row[5], 0) + 1
        enqueued_at_ms = first[0][4] if first else self._clock_ms
        return BacklogRecord(number, tally, enqueued_at_ms, sorted(delayed.items()))

    def _forget_stale_positions(self) -> None:
        for number, order in self._order.items():
            self._order[number] = [place for place in order if place[1] in self._messages]
        self._order = {number: order for number, order in self._order.items() if order}
        self._ordered = sum(map(len, self._order.values()))

    def _purge(self, number: int, through: int) -> None:
        for rows in (self._messages, self._deduplications):
            gone = [
                sequence
                for sequence, row in rows.items()
                if sequence <= through and row[1] == number
            ]
            for sequence in gone:
                del rows[sequence]
                self._deliveries.pop(sequence, None)
