"""What a handler gets."""

from __future__ import annotations

import re
from typing import Generic, TypeVar

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.messages.envelope import Envelope
from forebay.number_settings import require_number
from forebay.protocol.actions import MessageAttributes
from forebay.worker.lease import Lease

T_co = TypeVar("T_co", covariant=True)

#: A trace and a span of it. Source: https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

#: Source: https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
_XRAY_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")


class Received(Struct, Generic[T_co], frozen=True, kw_only=True, eq=False):
    """A message as its handler sees it."""

    #: Names the delivery over retried sends and redrives: the id of the envelope or of the pack, or
    #: the MessageId of a message that is neither.
    id: str
    #: The envelope's type and business key. A pack has a type; not every envelope has a key, and
    #: what is neither has none of them.
    type: str | None
    key: str | None
    #: The payload as the type that the handler is registered for. The default handler gets the body
    #: as text.
    payload: T_co
    lease: Lease
    #: None for what is not an envelope of its own.
    envelope: Envelope | None
    #: The text that was sent: the body, or the message in an SNS notification.
    text: str
    #: The message attributes of an SNS notification, which are in its body.
    unwrapped: MessageAttributes | None = None
    #: When the handler's timeout_s is over, in monotonic milliseconds; None without one.
    due_ms: int | None = None

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self.lease.source.name

    @property
    def queue_url(self) -> str:
        return self.lease.source.url

    @property
    def message_id(self) -> str:
        return self.lease.message.message_id

    @property
    def body(self) -> str:
        return self.lease.message.body

    @property
    def attributes(self) -> MessageAttributes:
        """The message attributes that the sender set, as SQS has them."""
        return self.unwrapped or self.lease.message.message_attributes or {}

    def attribute(self, name: str) -> str | int | float | bytes | None:
        """A message attribute as a Python value; None when the sender did not set it."""
        attribute = self.attributes.get(name)
        if attribute is None:
            return None
        if attribute.binary_value is not None:
            return attribute.binary_value
        text = attribute.string_value
        if text is not None and attribute.data_type.partition(".")[0] == "Number":
            return _number(text)
        return text

    @property
    def trace_header(self) -> str | None:
        """The AWS X-Ray tracing header that the message carries."""
        return self._system("AWSTraceHeader")

    @property
    def traceparent(self) -> str | None:
        """The sender's trace as the W3C writes it.

        It is the message attribute `traceparent`, or else what the X-Ray header says. None when
        neither is there or names a span.
        """
        given = self.attribute("traceparent")
        if isinstance(given, str) and _TRACEPARENT.fullmatch(given):
            return given
        header = self.trace_header
        return None if header is None else _traceparent_of_xray(header)

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
    def remaining_s(self) -> float:
        """How long the handler may still take, in seconds; 0 when its time is over.

        That is until its timeout_s is over, or until the lease ends, which the worker extends by
        itself as long as it can.
        """
        until_ms = self.lease.until_ms
        if self.due_ms is not None:
            until_ms = min(until_ms, self.due_ms)
        return max(0.0, (until_ms - self.lease.source.clock.monotonic_ms()) / 1000)

    @property
    def deadline_ms(self) -> int:
        """When `remaining_s` is over, in milliseconds since the Unix epoch."""
        return self.lease.source.clock.wall_ms() + round(self.remaining_s * 1000)

    async def extend(self, seconds: float) -> bool:
        """Keep the message hidden for at least `seconds` from now; SQS takes up to 12 hours in all.

        The worker extends it by itself while its event loop runs, so this is for a step that may
        hold that up. Call it in the event loop. Returns False when SQS could not be told, or when
        somebody else may have the message. Raises SettingsError when it is no number from 0.
        """
        require_number("extend: seconds", seconds)
        if not seconds >= 0:
            raise SettingsError(f"extend: seconds is {seconds}; it must be at least 0.")
        return await self.lease.source.extend(self.lease, seconds)

    @property
    def lease_lost(self) -> bool:
        """Whether the lease was lost or has ended, so that somebody else may have the message too.

        A long handler looks at it before each effect and stops when it is true.
        """
        return self.lease.lost

    def _system(self, name: str) -> str | None:
        return (self.lease.message.attributes or {}).get(name)


def _number(text: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _traceparent_of_xray(header: str) -> str | None:
    fields = dict(part.strip().partition("=")[::2] for part in header.split(";"))
    root = _XRAY_ROOT.fullmatch(fields.get("Root", ""))
    if root is None:
        return None
    sampled = "01" if fields.get("Sampled") == "1" else "00"
    traceparent = f"00-{root[1]}{root[2]}-{fields.get('Parent', '')}-{sampled}"
    return traceparent if _TRACEPARENT.fullmatch(traceparent) else None
