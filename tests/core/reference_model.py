"""What a queue should do, in the fewest words: one list, scanned from end to end every time.

The model does not choose which message a standard receive gets, because SQS does not promise that.
It says which messages may be received, and takes note of those that were.
"""

from __future__ import annotations

from dataclasses import dataclass, field

VISIBILITY_CAP_MS = 43_200_000
DEDUPLICATION_MS = 300_000


@dataclass
class Sent:
    """One message of the model. Times in ms."""

    body: str
    group: str | None
    enqueued_at: int
    visible_at: int
    received: int = 0
    taken_at: int = 0
    handles: list[str] = field(default_factory=list)


@dataclass
class Model:
    """What a queue holds."""

    fifo: bool
    timeout_ms: int
    retention_ms: int
    #: The queue's DelaySeconds; a standard queue's messages have delays of their own.
    delay_ms: int = 0
    messages: list[Sent] = field(default_factory=list)
    #: When each deduplication id was first used within its window.
    originals: dict[str, int] = field(default_factory=dict)

    def settle(self, now: int) -> None:
        """Drop what has expired."""
        self.messages = [
            message for message in self.messages if now < message.enqueued_at + self.retention_ms
        ]

    def change_delay(self, delay_ms: int, now: int) -> None:
        """Set the delay of a FIFO queue, for messages that wait for theirs to end as well."""
        self.delay_ms = delay_ms
        for message in self.messages:
            if message.visible_at > now and not message.received:
                message.visible_at = message.enqueued_at + delay_ms

    def is_duplicate(self, deduplication_id: str, now: int) -> bool:
        first_used = self.originals.get(deduplication_id)
        return first_used is not None and now < first_used + DEDUPLICATION_MS

    def receivable(self, now: int) -> list[Sent]:
        """The messages that may be handed out now, in order of sending."""
        self.settle(now)
        blocked: set[str | None] = set()
        receivable = []
        for message in self.messages:
            visible = message.visible_at <= now
            if self.fifo and not visible:
                blocked.add(message.group)
            if visible and not (self.fifo and message.group in blocked):
                receivable.append(message)
        return receivable

    def find(self, handle: str) -> Sent | None:
        return next((sent for sent in self.messages if handle in sent.handles), None)

    def is_current(self, message: Sent, handle: str, now: int) -> bool:
        return message.handles[-1] == handle and message.visible_at > now

    def counts(self, now: int) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        self.settle(now)
        hidden = [message for message in self.messages if message.visible_at > now]
        in_flight = sum(1 for message in hidden if message.received)
        visible = len(self.messages) - len(hidden)
        return visible, in_flight, len(hidden) - in_flight
