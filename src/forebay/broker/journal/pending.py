"""Commits that wait to be stored in tables, merged into one."""

from __future__ import annotations

from forebay.broker.core.changes import ChangeSet, MessageRow


class PendingChanges:
    """The sum of some commits.

    To commit the sum is to commit them one after the other, but what a later one removes of an
    earlier one is in neither list: a message that did not stay for long is never stored.
    """

    def __init__(self) -> None:
        #: The number of the latest commit.
        self.through = 0
        #: What the commits take in the log.
        self.size_bytes = 0
        self._sum = ChangeSet()
        self._messages: dict[int, MessageRow] = {}

    def __bool__(self) -> bool:
        return self.size_bytes > 0

    def add(self, number: int, changes: ChangeSet, size_bytes: int) -> None:
        """Take in the next commit."""
        self.through = number
        self.size_bytes += size_bytes
        self._merge(changes)

    def add_all(self, later: PendingChanges) -> None:
        """Take in the commits that come next and are a sum already."""
        if later:
            self.add(later.through, later.changes(), later.size_bytes)

    def changes(self) -> ChangeSet:
        """The sum. It is ours no more when commits are added later."""
        self._sum.messages = list(self._messages.values())
        return self._sum

    def _merge(self, changes: ChangeSet) -> None:
        total, messages = self._sum, self._messages
        for row in changes.messages:
            messages[row[0]] = row
        total.deliveries.update(changes.deliveries)
        for sequence in changes.removed_messages:
            if messages.pop(sequence, None) is None:
                total.removed_messages.append(sequence)
            total.deliveries.pop(sequence, None)
        total.queues.update(changes.queues)
        total.removed_queues += changes.removed_queues
        total.purged.update(changes.purged)
        for number in changes.purged:
            total.recounted_delays.pop(number, None)
        total.recounted_delays.update(changes.recounted_delays)
        total.deduplications += changes.deduplications
        total.move_tasks.update(changes.move_tasks)
        total.tallies.update(changes.tallies)
        total.forgotten_deduplications = max(
            total.forgotten_deduplications, changes.forgotten_deduplications
        )
        total.next_sequence = changes.next_sequence
        total.next_queue_number = changes.next_queue_number
        total.clock_ms = changes.clock_ms
