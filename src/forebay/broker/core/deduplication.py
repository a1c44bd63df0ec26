"""The deduplication window of a FIFO queue.

A send whose deduplication id was used within the last five minutes is accepted and answered with
the first message's id and sequence number, and adds no message, even when the first was received
and deleted since. The scope is the whole queue or one message group.

Source: SQSDeveloperGuide/using-messagededuplicationid-property.html
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from forebay.protocol.limits import DEDUPLICATION_INTERVAL_MS


class Original(Struct, frozen=True, gc=False):
    """The send that later sends with its deduplication id collapse into."""

    sequence: int
    message_id: str
    expires_at_ms: int


class DeduplicationWindow:
    """The deduplication ids of one queue that have not expired."""

    __slots__ = ("_by_age", "_originals")

    def __init__(self) -> None:
        self._originals: dict[tuple[str, str], Original] = {}
        self._by_age: deque[tuple[tuple[str, str], Original]] = deque()

    def __len__(self) -> int:
        return len(self._originals)

    def find(self, scope: str, deduplication_id: str, now_ms: int) -> Original | None:
        """The earlier send with this id, if it is still within its window."""
        original = self._originals.get((scope, deduplication_id))
        if original is None or original.expires_at_ms <= now_ms:
            return None
        return original

    def remember(
        self, scope: str, deduplication_id: str, sequence: int, message_id: str, now_ms: int
    ) -> Original:
        """Open the window of a new send."""
        original = Original(sequence, message_id, now_ms + DEDUPLICATION_INTERVAL_MS)
        self.restore(scope, deduplication_id, original)
        return original

    def restore(self, scope: str, deduplication_id: str, original: Original) -> None:
        """Put back an original that the journal kept. Call in order of sequence."""
        key = (scope, deduplication_id)
        self._originals[key] = original
        self._by_age.append((key, original))

    def forget_expired(self, now_ms: int) -> int:
        """Drop what fell out of the window; answer the highest sequence dropped, 0 for none."""
        by_age = self._by_age
        forgotten = 0
        while by_age and by_age[0][1].expires_at_ms <= now_ms:
            key, original = by_age.popleft()
            forgotten = original.sequence
            if self._originals.get(key) is original:
                del self._originals[key]
        return forgotten

    def clear(self) -> None:
        """Forget everything, as a purge does."""
        self._originals.clear()
        self._by_age.clear()
