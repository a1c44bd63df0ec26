"""Changes of a FIFO queue's DelaySeconds reach the messages that still wait for their delay to end.

Such a message is available the new delay after its send. One whose delay has ended stays available.
Messages are not written again for it: what the journal says of one is corrected when it is read, by
the changes since it was sent. On a standard queue a change reaches no message that is there.

Source: SQSDeveloperGuide/sqs-delay-queues.html
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from forebay.protocol.limits import DELAY_SECONDS_MAX

_DELAY_MS_MAX = DELAY_SECONDS_MAX * 1000


class DelayChange(Struct, frozen=True, array_like=True, gc=False):
    """A change of a queue's DelaySeconds. Times are engine time in ms."""

    at_ms: int
    #: It reaches messages up to this sequence.
    through_sequence: int
    delay_ms: int


def without_old(changes: Iterable[DelayChange], now_ms: int) -> list[DelayChange]:
    """The changes that messages may still wait on: the longest delay after one, none does."""
    return [change for change in changes if change.at_ms > now_ms - _DELAY_MS_MAX]


def corrected(
    sequence: int, enqueued_at_ms: int, available_at_ms: int, changes: Iterable[DelayChange]
) -> int:
    """When a message is available that was sent before changes of the delay, in ms."""
    for change in changes:
        if sequence <= change.through_sequence and available_at_ms > change.at_ms:
            available_at_ms = enqueued_at_ms + change.delay_ms
    return available_at_ms
