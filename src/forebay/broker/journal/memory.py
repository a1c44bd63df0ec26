"""A journal that keeps everything in this process and loses it with the process."""

from __future__ import annotations

from forebay.broker.core.changes import (
    ChangeSet,
    DeduplicationRow,
    DeliveryRow,
    MessageRow,
    MoveTaskRecord,
    QueueRecord,
    Snapshot,
)
from forebay.broker.journal.base import Durability


class MemoryJournal:
    """A Journal of dicts: for tests, for demonstrations, and for `--durability memory`."""

    durability = Durability.MEMORY

    def __init__(self) -> None:
        self._queues: dict[int, QueueRecord] = {}
        self._messages: dict[int, MessageRow] = {}
        self._deliveries: dict[int, DeliveryRow] = {}
        self._deduplications: dict[int, DeduplicationRow] = {}
        self._move_tasks: dict[int, MoveTaskRecord] = {}
        self._next_sequence = 1
        self._next_queue_number = 1
        self._clock_ms = 0

    def load(self) -> Snapshot:
        return Snapshot(
            queues=[record for _, record in sorted(self._queues.items())],
            messages=[
                (row, self._deliveries.get(sequence))
                for sequence, row in sorted(self._messages.items())
            ],
            deduplications=[row for _, row in sorted(self._deduplications.items())],
            next_sequence=self._next_sequence,
            next_queue_number=self._next_queue_number,
            clock_ms=self._clock_ms,
            move_tasks=[record for _, record in sorted(self._move_tasks.items())],
        )

    def commit(self, changes: ChangeSet) -> None:
        self._queues.update(changes.queues)
        self._messages.update((row[0], row) for row in changes.messages)
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
            self._purge(number, changes.next_sequence - 1)
        if changes.forgotten_deduplications:
            self._deduplications = {
                sequence: row
                for sequence, row in self._deduplications.items()
                if sequence > changes.forgotten_deduplications
            }

    def close(self) -> None:
        """What was committed stays as long as the object does."""

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
