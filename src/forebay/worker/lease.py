"""A received message while it is ours: until when, and whether it still is."""

from __future__ import annotations

from msgspec import Struct

from forebay.protocol.actions import Message
from forebay.protocol.limits import VISIBILITY_TIMEOUT_SECONDS_MAX

#: SQS counts the time in flight from its own receive, a little before ours, in milliseconds.
_RECEIVE_MARGIN_MS = 1_000


class Lease(Struct, eq=False):
    """One delivery of one message, hidden from others until its lease ends.

    Times are the monotonic milliseconds of the worker's clock.
    """

    message: Message
    received_at_ms: int
    until_ms: int
    #: The message group whose order holds; None on a standard queue, where none does.
    group_id: str | None = None
    #: Set when SQS refused to extend the lease or it ran out: somebody else may have the message.
    lost: bool = False

    @property
    def message_id(self) -> str:
        return self.message.message_id

    @property
    def receive_count(self) -> int:
        """How often the message has been received, this time included."""
        return int((self.message.attributes or {}).get("ApproximateReceiveCount", "1"))

    def is_over(self, now_ms: int) -> bool:
        """Whether somebody else may have the message: from `until_ms` on, or once it is lost."""
        return self.lost or now_ms >= self.until_ms

    def longest_timeout_s(self, now_ms: int) -> int:
        """The longest visibility timeout that SQS would still take for this delivery.

        A message may stay in flight for 12 hours from its receive, extensions included.
        Source: API ChangeMessageVisibility.
        """
        latest_ms = self.received_at_ms + VISIBILITY_TIMEOUT_SECONDS_MAX * 1000 - _RECEIVE_MARGIN_MS
        return max(0, (latest_ms - now_ms) // 1000)
