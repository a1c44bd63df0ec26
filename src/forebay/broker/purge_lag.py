"""A purge takes a minute, and may take along what is sent in that minute.

Source: API PurgeQueue: "The message deletion process takes up to 60 seconds. We recommend waiting
for 60 seconds regardless of your queue's size. Messages sent to the queue after you call PurgeQueue
might be deleted while the queue is being purged."
"""

from __future__ import annotations

from collections.abc import Iterator

from forebay.broker.polls import Answer
from forebay.protocol.actions import (
    Message,
    ReceiveMessageResult,
    SendMessageBatchResult,
    SendMessageResult,
)

#: How long a purge goes on, in milliseconds of the queue's time. Source: API PurgeQueue.
PURGE_MS = 60_000


class PurgeLag:
    """What a purge that began at a time takes of what is sent to its queue afterwards."""

    def __init__(self, purged_at_ms: int) -> None:
        self._ends_ms = purged_at_ms + PURGE_MS
        self._doomed: set[str] = set()

    def may_take(self, answer: Answer, now_ms: int) -> list[str]:
        """The ids of the messages that were sent, by this answer, early enough to be purged."""
        if now_ms >= self._ends_ms:
            return []
        if isinstance(answer, SendMessageResult):
            return [answer.message_id]
        if isinstance(answer, SendMessageBatchResult):
            return [entry.message_id for entry in answer.successful or ()]
        return []

    def doom(self, message_id: str) -> None:
        """Have a message never be delivered."""
        self._doomed.add(message_id)

    def take_out(self, answer: ReceiveMessageResult) -> Iterator[Message]:
        """Take the messages that were purged out of a delivery, and give them."""
        if not self._doomed:
            return
        messages = answer.messages or []
        for message in [each for each in messages if each.message_id in self._doomed]:
            self._doomed.discard(message.message_id)
            messages.remove(message)
            yield message
        answer.messages = messages or None
