"""Receive attempts of a FIFO queue: the same ReceiveRequestAttemptId gets the same messages.

A caller that lost the answer of a receive asks again with the same id within five minutes and gets
the same messages under the same receipt handles, hidden anew, unless one of them was deleted, came
back or had its visibility changed since.

Source: API ReceiveMessage, ReceiveRequestAttemptId.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

from forebay.protocol.limits import RECEIVE_ATTEMPT_INTERVAL_MS


class Delivered(Struct, frozen=True, gc=False):
    """One message as a receive left it."""

    sequence: int
    receive_count: int
    visible_at_ms: int


class ReceiveAttempts:
    """What the receives of the last five minutes delivered, by attempt id."""

    __slots__ = ("_attempts",)

    def __init__(self) -> None:
        self._attempts: OrderedDict[str, tuple[int, list[Delivered]]] = OrderedDict()

    def find(self, attempt_id: str, now_ms: int) -> list[Delivered]:
        """What the receive with this id delivered; empty when it is unknown or too long ago."""
        expires_at_ms, delivered = self._attempts.get(attempt_id, (0, []))
        return delivered if expires_at_ms > now_ms else []

    def remember(self, attempt_id: str, delivered: list[Delivered], now_ms: int) -> None:
        """Keep what a receive delivered, and drop what is too long ago."""
        attempts = self._attempts
        attempts[attempt_id] = (now_ms + RECEIVE_ATTEMPT_INTERVAL_MS, delivered)
        attempts.move_to_end(attempt_id)
        while attempts and next(iter(attempts.values()))[0] <= now_ms:
            attempts.popitem(last=False)

    def restore(self, attempt_id: str, delivered: Delivered, taken_at_ms: int) -> None:
        """Put back one message that the journal kept with the attempt that received it."""
        _, known = self._attempts.get(attempt_id, (0, []))
        self._attempts[attempt_id] = (
            taken_at_ms + RECEIVE_ATTEMPT_INTERVAL_MS,
            [*known, delivered],
        )

    def clear(self) -> None:
        """Forget everything, as a purge does."""
        self._attempts.clear()
