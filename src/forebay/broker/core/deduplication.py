"""The deduplication window of a FIFO queue.

A send whose deduplication id was used within the last five minutes is accepted and answered with
the first message's id and sequence number, and adds no message, even when the first was received
and deleted since. The scope is the whole queue or one message group.

Source: SQSDeveloperGuide/using-messagededuplicationid-property.html
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from forebay.protocol.limits import DEDUPLICATION_INTERVAL_MS

#: What an id takes of memory, in bytes. Measured: docs/decisions/0008-a-bound-on-memory.md.
ID_BYTES = 200

#: A digest of a scope and a deduplication id, as a number. It is long enough that no two ids share
#: one: with a billion ids the odds are one in 10^20.
Key: TypeAlias = int

_KEY_BYTES = 16

#: An original is kept as one number: expiry, sequence and message id, of so many bits each.
_SEQUENCE_BITS = 64
_MESSAGE_ID_BITS = 128
_SEQUENCE_MASK = (1 << _SEQUENCE_BITS) - 1
_MESSAGE_ID_MASK = (1 << _MESSAGE_ID_BITS) - 1


class Original(NamedTuple):
    """The send that later sends with its deduplication id collapse into."""

    sequence: int
    message_id: str
    expires_at_ms: int


def key_of(scope: str, deduplication_id: str) -> Key:
    """What an id of a scope is known by."""
    # Neither has a character of code 0, so no two pairs are alike.
    pair = f"{scope}\0{deduplication_id}".encode()
    return int.from_bytes(blake2b(pair, digest_size=_KEY_BYTES).digest())


class DeduplicationWindow:
    """The deduplication ids of one queue that have not expired.

    Each takes a few numbers and no text, because a queue that takes 10,000 messages a second has
    three million of them.
    """

    __slots__ = ("_by_age", "_originals")

    def __init__(self) -> None:
        self._originals: dict[Key, int] = {}
        self._by_age: deque[Key] = deque()

    def __len__(self) -> int:
        return len(self._originals)

    def find(self, key: Key, now_ms: int) -> Original | None:
        """The earlier send with this id, if it is still within its window."""
        packed = self._originals.get(key)
        if packed is None or _expiry(packed) <= now_ms:
            return None
        digits = f"{packed & _MESSAGE_ID_MASK:032x}"
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        return Original(_sequence(packed), "-".join(parts), _expiry(packed))

    def remember(self, key: Key, sequence: int, identifier: str, now_ms: int) -> int:
        """Open the window of a new send. Answers when it ends."""
        expires_at_ms = now_ms + DEDUPLICATION_INTERVAL_MS
        self.restore(key, Original(sequence, identifier, expires_at_ms))
        return expires_at_ms

    def restore(self, key: Key, original: Original) -> None:
        """Put back an original that the journal kept. Call in order of sequence."""
        while key in self._originals:
            # It has expired, and so have all that are older.
            del self._originals[self._by_age.popleft()]
        when = original.expires_at_ms << _SEQUENCE_BITS | original.sequence
        digits = original.message_id.replace("-", "")
        self._originals[key] = when << _MESSAGE_ID_BITS | int(digits, 16)
        self._by_age.append(key)

    def forget_expired(self, now_ms: int, most: int) -> int:
        """Drop some that fell out of the window. Answers the highest sequence dropped, else 0."""
        by_age, originals = self._by_age, self._originals
        forgotten = 0
        while most and by_age and _expiry(packed := originals[by_age[0]]) <= now_ms:
            del originals[by_age.popleft()]
            forgotten = _sequence(packed)
            most -= 1
        return forgotten

    def clear(self) -> None:
        """Forget everything, as a purge does."""
        self._originals.clear()
        self._by_age.clear()


def _expiry(packed: int) -> int:
    return packed >> (_SEQUENCE_BITS + _MESSAGE_ID_BITS)


def _sequence(packed: int) -> int:
    return packed >> _MESSAGE_ID_BITS & _SEQUENCE_MASK
