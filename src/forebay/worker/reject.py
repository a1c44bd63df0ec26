"""Sending a copy of a message that can never be handled to the dead-letter queue."""

from __future__ import annotations

import re

from forebay.client.base import SqsClient
from forebay.errors import ForebayError
from forebay.messages.packing import PACK_ATTRIBUTE
from forebay.protocol.actions import (
    Message,
    MessageAttributes,
    MessageAttributeValue,
    SendMessageRequest,
)
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.protocol.limits import MESSAGE_ATTRIBUTES_MAX, MESSAGE_BYTES_MAX
from forebay.protocol.rejection import (
    MESSAGE_ID_ATTRIBUTE,
    REASON_ATTRIBUTE,
    SOURCE_ARN_ATTRIBUTE,
    without_rejection,
)

#: Longest reason that is kept, in characters.
REASON_CHARACTERS_MAX = 1_024

#: What SQS does not take in a string. Source: API SendMessage.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NoDeadLetterQueue(ForebayError):
    """There is no dead-letter queue. Give the queue a RedrivePolicy, or name one to the worker."""


def dead_letter_copy(
    message: Message, *, queue_url: str, source_arn: str, reason: str
) -> SendMessageRequest:
    """The copy that goes to the dead-letter queue: body, group and attributes as they were.

    SQS takes ten attributes, and three of them say where the copy comes from and why; those of the
    original that no longer fit are left out, but never the content of a pack. Of those three, a
    message that is nearly as long as SQS takes gets only what still fits. On a FIFO queue the
    deduplication id comes from the original's MessageId, so that a crash between copying and
    deleting makes no second copy within the deduplication interval; a message without a group makes
    one of its own.
    """
    system = message.attributes or {}
    trace_header = system.get("AWSTraceHeader")
    fifo = queue_url.endswith(FIFO_SUFFIX)
    return SendMessageRequest(
        queue_url=queue_url,
        message_body=message.body,
        message_attributes=_attributes(message, source_arn, reason),
        message_system_attributes=(
            {"AWSTraceHeader": _string(trace_header)} if trace_header else None
        ),
        message_group_id=system.get("MessageGroupId", message.message_id if fifo else None),
        message_deduplication_id=f"reject-{message.message_id}" if fifo else None,
    )


def _attributes(message: Message, source_arn: str, reason: str) -> MessageAttributes:
    ours = {
        SOURCE_ARN_ATTRIBUTE: _string(source_arn),
        REASON_ATTRIBUTE: _string(reason),
        MESSAGE_ID_ATTRIBUTE: _string(message.message_id),
    }
    theirs = without_rejection(message.message_attributes or {})
    in_turn = sorted(theirs.items(), key=lambda attribute: attribute[0] != PACK_ATTRIBUTE)
    kept = dict(in_turn[: MESSAGE_ATTRIBUTES_MAX - len(ours)])
    room_bytes = MESSAGE_BYTES_MAX - len(message.body.encode())
    room_bytes -= sum(_size_bytes(name, value) for name, value in kept.items())
    for name, value in ours.items():
        size_bytes = _size_bytes(name, value)
        if size_bytes <= room_bytes:
            kept[name] = value
            room_bytes -= size_bytes
    return kept


def _size_bytes(name: str, value: MessageAttributeValue) -> int:
    """How much an attribute adds to a message: its name, its type and its value.

    Source: API SendMessage.
    """
    texts = (name, value.data_type, value.string_value or "")
    return sum(len(text.encode()) for text in texts) + len(value.binary_value or b"")


def _string(text: str) -> MessageAttributeValue:
    allowed = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text[:REASON_CHARACTERS_MAX])
    return MessageAttributeValue(data_type="String", string_value=allowed or "no reason given")


class Rejecter:
    """Copies messages of one queue to its dead-letter queue."""

    def __init__(self, client: SqsClient, source_arn: str, dead_letter_queue: str | None) -> None:
        """`dead_letter_queue` is a name, a URL or an ARN; None when there is no such queue."""
        self._client = client
        self._source_arn = source_arn
        self._dead_letter_queue = dead_letter_queue
        self._url: str | None = None

    async def send_copy(self, message: Message, reason: str) -> None:
        """Put a copy into the dead-letter queue; delete the original after this.

        Raises NoDeadLetterQueue when there is none, and what the client raises.
        """
        copy = dead_letter_copy(
            message, queue_url=await self._find(), source_arn=self._source_arn, reason=reason
        )
        await self._client.send_message(copy)

    async def _find(self) -> str:
        """The URL of the dead-letter queue. Asked of SQS when it is first needed."""
        if self._dead_letter_queue is None:
            raise NoDeadLetterQueue
        if self._url is None:
            self._url = await self._client.queue_url(self._dead_letter_queue)
        return self._url
