"""A message and its life cycle.

Everything that ever changes a message's state goes through `transition` and therefore through the
one table below; the diagram in the docs is drawn from it. An event that a state does not allow is a
bug of ours, never of the caller: requests are checked before they get here.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from forebay.broker.core.changes import MessageExtras
from forebay.errors import InvalidTransition
from forebay.protocol.actions import MessageAttributes


class State(IntEnum):
    """Where a message is in its life."""

    #: Sent with a delay that has not ended.
    DELAYED = 0
    #: May be received.
    VISIBLE = 1
    #: Received, and hidden from others until its visibility timeout ends.
    IN_FLIGHT = 2
    #: No longer in the queue.
    GONE = 3


class Event(IntEnum):
    """What can happen to a message after it was sent."""

    #: The delay of the message ended.
    DELAY_ENDED = 0
    #: ReceiveMessage handed it out.
    RECEIVED = 1
    #: ChangeMessageVisibility set a timeout above 0.
    HIDDEN = 2
    #: ChangeMessageVisibility, or a receive with VisibilityTimeout=0, set a timeout of 0.
    RELEASED = 3
    #: The visibility timeout ended.
    TIMED_OUT = 4
    #: DeleteMessage.
    DELETED = 5
    #: A receive found it received maxReceiveCount times already, and moved it.
    DEAD_LETTERED = 6
    #: The retention period ended.
    EXPIRED = 7
    #: PurgeQueue or DeleteQueue.
    PURGED = 8
    #: A message move task took it to another queue.
    MOVED = 9


#: The life cycle: (state, event) → next state. A pair that is not here cannot happen.
TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.DELAYED, Event.DELAY_ENDED): State.VISIBLE,
    (State.DELAYED, Event.EXPIRED): State.GONE,
    (State.DELAYED, Event.PURGED): State.GONE,
    (State.VISIBLE, Event.RECEIVED): State.IN_FLIGHT,
    # A receive attempt that is repeated hides what it found, and a restart what was hidden.
    (State.VISIBLE, Event.HIDDEN): State.IN_FLIGHT,
    # On a standard queue the handle of an earlier receive still deletes.
    (State.VISIBLE, Event.DELETED): State.GONE,
    (State.VISIBLE, Event.DEAD_LETTERED): State.GONE,
    (State.VISIBLE, Event.MOVED): State.GONE,
    (State.VISIBLE, Event.EXPIRED): State.GONE,
    (State.VISIBLE, Event.PURGED): State.GONE,
    (State.IN_FLIGHT, Event.HIDDEN): State.IN_FLIGHT,
    (State.IN_FLIGHT, Event.RELEASED): State.VISIBLE,
    (State.IN_FLIGHT, Event.TIMED_OUT): State.VISIBLE,
    (State.IN_FLIGHT, Event.DELETED): State.GONE,
    (State.IN_FLIGHT, Event.EXPIRED): State.GONE,
    (State.IN_FLIGHT, Event.PURGED): State.GONE,
}


class Message(Struct, kw_only=True, gc=False, eq=False):
    """A message in a queue. Times are engine time in ms unless a comment says otherwise.

    Messages hold nothing that can refer back to them, so the garbage collector need not follow the
    many that wait in a queue.
    """

    sequence: int
    message_id: str
    body: str
    body_md5: str
    #: When retention began to count.
    enqueued_at_ms: int
    #: When the delay ends, or ended.
    available_at_ms: int
    #: Wall time of the send.
    sent_at_ms: int
    sender_id: str
    group_id: str | None = None
    deduplication_id: str | None = None
    extras: MessageExtras | None = None
    #: The digest of all user attributes.
    attributes_md5: str | None = None
    state: State = State.DELAYED
    #: How often it was received, from the queues that it was dead-lettered from as well.
    receive_count: int = 0
    #: Wall time of the first receive, 0 before it.
    first_received_at_ms: int = 0
    #: When the latest receive was, 0 before the first.
    taken_at_ms: int = 0
    #: Its place among the visible messages of a standard queue; 0 when it has yet to take one.
    turn: int = 0
    #: Whether it was received from the queue that it is in.
    received_here: bool = False

    @property
    def receives_here(self) -> int:
        """How often it was received from the queue that it is in."""
        before = self.extras.received_before if self.extras is not None else None
        return self.receive_count - before[0] if before is not None else self.receive_count

    @property
    def attributes(self) -> MessageAttributes | None:
        """The user's message attributes."""
        return self.extras.attributes if self.extras is not None else None


def transition(message: Message, event: Event) -> None:
    """Carry the message to its next state.

    Raises InvalidTransition, and leaves the message as it was, when its state does not allow it.
    """
    try:
        message.state = TRANSITIONS[message.state, event]
    except KeyError:
        raise InvalidTransition(
            f"Message {message.message_id} is {message.state.name} and got {event.name}."
            " This is a bug; please report it."
        ) from None
