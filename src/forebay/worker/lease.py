"""A received message while it is ours, and the life that it has here.

Everything that ever changes a lease's state goes through `Lease.step` and therefore through the one
table below; the diagram in the docs is drawn from it. An event that a state does not allow is a bug
of ours, never of a handler or of SQS.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from forebay.errors import InvalidTransition
from forebay.protocol.actions import Message
from forebay.protocol.limits import VISIBILITY_TIMEOUT_SECONDS_MAX

if TYPE_CHECKING:
    from forebay.worker.source import Source

#: SQS counts the time in flight from its own receive, a little before ours, in milliseconds.
_RECEIVE_MARGIN_MS = 1_000


class State(IntEnum):
    """Where a received message is in its life here. From ACKED on it has ended."""

    #: Received. Waits for a place, or behind another message of its group.
    WAITING = 0
    #: Its handler runs.
    RUNNING = 1
    #: Its handler goes on after its time, without a place. Nothing extends the lease.
    LEFT = 2
    #: Handled; SQS is asked to delete it.
    DELETING = 3
    #: It can never be handled; a copy goes to the dead-letter queue.
    COPYING = 4
    #: The copy is there; SQS is asked to delete the original.
    DISCARDING = 5
    #: SQS is asked to show it again after a delay.
    RETRYING = 6
    #: SQS is asked to show it again although it did not run to its end.
    RELEASING = 7
    #: Handled and deleted.
    ACKED = 8
    #: Copied to the dead-letter queue and deleted.
    REJECTED = 9
    #: Its handler failed or asked for it: visible again after a delay.
    RETRIED = 10
    #: Interrupted by a drain, or behind another message of its group: visible again.
    RELEASED = 11
    #: Left to its visibility timeout: the lease was over, or SQS could not be told. It will be
    #: delivered again.
    LOST = 12


class Event(IntEnum):
    """What can happen to a received message."""

    #: Its handler starts.
    STARTED = 0
    #: Its handler does not end in its time, and cannot be stopped.
    OVERRAN = 1
    #: Its handler has done its work.
    DONE = 2
    #: It can never be handled.
    REFUSED = 3
    #: SQS has its copy in the dead-letter queue.
    COPIED = 4
    #: Its handler failed, or asked for it to come back later.
    POSTPONED = 5
    #: It cannot run, or not to its end. This is no failure of its handler.
    INTERRUPTED = 6
    #: SQS did what it was asked.
    CONFIRMED = 7
    #: SQS refused what it was asked, or could not be told while the lease lasted.
    GIVEN_UP = 8


#: The life of a lease: (state, event) → next state. A pair that is not here cannot happen.
TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.WAITING, Event.STARTED): State.RUNNING,
    (State.WAITING, Event.REFUSED): State.COPYING,
    # It could not even be read, for a reason that may pass.
    (State.WAITING, Event.POSTPONED): State.RETRYING,
    (State.WAITING, Event.INTERRUPTED): State.RELEASING,
    (State.WAITING, Event.GIVEN_UP): State.LOST,
    (State.RUNNING, Event.OVERRAN): State.LEFT,
    (State.RUNNING, Event.DONE): State.DELETING,
    (State.RUNNING, Event.REFUSED): State.COPYING,
    (State.RUNNING, Event.POSTPONED): State.RETRYING,
    (State.RUNNING, Event.INTERRUPTED): State.RELEASING,
    (State.RUNNING, Event.GIVEN_UP): State.LOST,
    (State.LEFT, Event.DONE): State.DELETING,
    (State.LEFT, Event.REFUSED): State.COPYING,
    (State.LEFT, Event.POSTPONED): State.RETRYING,
    (State.LEFT, Event.INTERRUPTED): State.RELEASING,
    (State.LEFT, Event.GIVEN_UP): State.LOST,
    (State.DELETING, Event.CONFIRMED): State.ACKED,
    (State.DELETING, Event.GIVEN_UP): State.LOST,
    (State.COPYING, Event.COPIED): State.DISCARDING,
    (State.COPYING, Event.POSTPONED): State.RETRYING,
    (State.COPYING, Event.GIVEN_UP): State.LOST,
    (State.DISCARDING, Event.CONFIRMED): State.REJECTED,
    (State.DISCARDING, Event.GIVEN_UP): State.LOST,
    (State.RETRYING, Event.CONFIRMED): State.RETRIED,
    (State.RETRYING, Event.GIVEN_UP): State.LOST,
    (State.RELEASING, Event.CONFIRMED): State.RELEASED,
    (State.RELEASING, Event.GIVEN_UP): State.LOST,
}

#: The states in which nothing happens any more.
ENDINGS = (State.ACKED, State.REJECTED, State.RETRIED, State.RELEASED, State.LOST)


#: Messages that a line of the log names at most.
_NAMED_MAX = 5


class Lease(Struct, eq=False):
    """One delivery of one message, hidden from others until its lease ends.

    Times are the monotonic milliseconds of its source's clock.
    """

    message: Message
    #: The queue that it came from, which is told when it has ended.
    source: Source
    received_at_ms: int
    #: When it was hidden last, by its receive or by an extension.
    hidden_at_ms: int
    #: Until when it is hidden. From then on somebody else may have it.
    until_ms: int
    #: The message group whose order holds; None on a standard queue, where none does.
    group_id: str | None = None
    state: State = State.WAITING

    @property
    def message_id(self) -> str:
        return self.message.message_id

    @property
    def receive_count(self) -> int:
        """How often the message has been received, this time included."""
        return int((self.message.attributes or {}).get("ApproximateReceiveCount", "1"))

    @property
    def log_fields(self) -> dict[str, object]:
        """What a log line about the message carries outside of its handler."""
        return {
            "queue": self.source.name,
            "message_id": self.message_id,
            "receive_count": self.receive_count,
        }

    @property
    def lost(self) -> bool:
        """Whether somebody else may have the message by now.

        The clock decides, so it is true even when nothing else ran since the lease ended.
        """
        return self.is_over(self.source.clock.monotonic_ms())

    @property
    def has_ended(self) -> bool:
        return self.state >= State.ACKED

    def is_over(self, now_ms: int) -> bool:
        """Whether somebody else may have the message: from `until_ms` on."""
        return now_ms >= self.until_ms

    def longest_timeout_s(self, now_ms: int) -> int:
        """The longest visibility timeout that SQS would still take for this delivery.

        A message may stay in flight for 12 hours from its receive, extensions included.
        Source: API ChangeMessageVisibility.
        """
        latest_ms = self.received_at_ms + VISIBILITY_TIMEOUT_SECONDS_MAX * 1000 - _RECEIVE_MARGIN_MS
        return max(0, (latest_ms - now_ms) // 1000)

    def step(self, event: Event) -> None:
        """Carry the lease to its next state, and tell its source when that is an ending.

        Raises InvalidTransition, and leaves the lease as it was, when its state does not allow it.
        """
        try:
            self.state = TRANSITIONS[self.state, event]
        except KeyError:
            raise InvalidTransition(
                f"The lease of message {self.message_id} is {self.state.name} and got {event.name}."
                " This is a bug; please report it."
            ) from None
        if self.has_ended:
            self.source.ended(self)


def named(leases: Sequence[Lease]) -> str:
    """The messages of these leases in words, for logs."""
    names = ", ".join(lease.message_id for lease in leases[:_NAMED_MAX])
    more = len(leases) - _NAMED_MAX
    return f"{names} and {more} more" if more > 0 else names
