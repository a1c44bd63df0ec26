"""What a handler gets."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

from forebay.messages.envelope import Envelope
from forebay.protocol.actions import MessageAttributes
from forebay.worker.lease import Lease

T_co = TypeVar("T_co", covariant=True)


class Received(Struct, Generic[T_co], frozen=True, kw_only=True, eq=False):
    """A message as its handler sees it."""

    #: Names the delivery over retried sends and redrives: the envelope's id, or the MessageId of a
    #: message without an envelope.
    id: str
    #: The envelope's type and business key. None without an envelope; not every one has a key.
    type: str | None
    key: str | None
    #: The envelope's payload as the type that the handler is registered for. The default handler
    #: gets the body as text.
    payload: T_co
    queue_url: str
    lease: Lease
    #: None when the body is not an envelope.
    envelope: Envelope | None

    @property
    def message_id(self) -> str:
        return self.lease.message.message_id

    @property
    def body(self) -> str:
        return self.lease.message.body

    @property
    def attributes(self) -> MessageAttributes:
        """The message attributes that the sender set."""
        return self.lease.message.message_attributes or {}

    @property
    def group_id(self) -> str | None:
        return self._system("MessageGroupId")

    @property
    def sequence_number(self) -> int | None:
        """Rises within a message group; None on a standard queue."""
        number = self._system("SequenceNumber")
        return None if number is None else int(number)

    @property
    def receive_count(self) -> int:
        """How often the message has been received, this time included."""
        return self.lease.receive_count

    @property
    def sent_at_ms(self) -> int:
        """When SQS took the message, in milliseconds since the Unix epoch."""
        return int(self._system("SentTimestamp") or 0)

    @property
    def lease_lost(self) -> bool:
        """Whether the lease was lost, so that somebody else may have the message too.

        A long handler looks at it before each effect and stops when it is true.
        """
        return self.lease.lost

    def _system(self, name: str) -> str | None:
        return (self.lease.message.attributes or {}).get(name)
