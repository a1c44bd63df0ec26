"""The messages of a queue by age, so that those whose retention ends are found."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from heapq import heappop, heappush

from forebay.broker.core.message import Message

#: Messages that are gone and still known here before they are forgotten, beside as many as there
#: are messages.
_GONE_MIN = 64


class Ages:
    """The messages in memory, oldest first. Which those are is what `messages` says.

    Messages come in the order in which they were enqueued, but for a few that were read from the
    journal or moved here. So most of them stand in a row, and one that leaves is not looked for: it
    is passed over when its turn comes, and dropped when many have gone.
    """

    __slots__ = ("_late", "_messages", "_newest_ms", "_row")

    def __init__(self, messages: Mapping[int, Message]) -> None:
        self._messages = messages
        #: Sequences, in order of when their retention began.
        self._row: deque[int] = deque()
        self._newest_ms = 0
        #: Those that are older than what came before them: a heap of when retention began.
        self._late: list[tuple[int, int]] = []

    def __len__(self) -> int:
        """How many are known here, those included that are gone and not forgotten yet."""
        return len(self._row) + len(self._late)

    def add(self, message: Message) -> None:
        """Take in a message that was just put into memory."""
        if message.enqueued_at_ms >= self._newest_ms:
            self._newest_ms = message.enqueued_at_ms
            self._row.append(message.sequence)
        else:
            heappush(self._late, (message.enqueued_at_ms, message.sequence))
        if len(self._row) + len(self._late) > 2 * len(self._messages) + _GONE_MIN:
            messages = self._messages
            self._row = deque(sequence for sequence in self._row if sequence in messages)
            self._late = sorted(entry for entry in self._late if entry[1] in messages)

    def oldest(self) -> Message | None:
        """The message whose retention began first; None when there is none."""
        messages, row, late = self._messages, self._row, self._late
        while row and row[0] not in messages:
            row.popleft()
        while late and late[0][1] not in messages:
            heappop(late)
        first = messages[row[0]] if row else None
        if late and (first is None or late[0][0] < first.enqueued_at_ms):
            return messages[late[0][1]]
        return first

    def clear(self) -> None:
        """Forget everything."""
        self._row.clear()
        self._late.clear()
