"""Sending a copy of a message that can never be handled to the dead-letter queue."""

from __future__ import annotations

import asyncio
import json
import logging
import re

from msgspec import Struct

from forebay.client.base import SqsClient
from forebay.errors import ForebayError
from forebay.protocol.actions import (
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    Message,
    MessageAttributes,
    MessageAttributeValue,
    SendMessageRequest,
)
from forebay.protocol.identifiers import FIFO_SUFFIX, queue_key_from_arn
from forebay.protocol.limits import MESSAGE_ATTRIBUTES_MAX
from forebay.protocol.rejection import (
    MESSAGE_ID_ATTRIBUTE,
    REASON_ATTRIBUTE,
    SOURCE_ARN_ATTRIBUTE,
    without_rejection,
)

_log = logging.getLogger(__name__)

#: Longest reason that is kept, in characters.
REASON_CHARACTERS_MAX = 1_024

#: What SQS does not take in a string. Source: API SendMessage.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NoDeadLetterQueue(ForebayError):
    """The queue has no dead-letter queue. Give it a RedrivePolicy or pass dead_letter_queue_url."""


class DeadLetters(Struct, frozen=True):
    """Where the rejected messages of a queue go."""

    source_arn: str
    queue_url: str | None
    #: Receives after which the queue itself moves a message there; None when it does not.
    max_receive_count: int | None


def dead_letter_copy(
    message: Message, *, queue_url: str, source_arn: str, reason: str
) -> SendMessageRequest:
    """The copy that goes to the dead-letter queue: body, group and attributes as they were.

    SQS takes ten attributes, and three of them say where the copy comes from and why; those of the
    original that no longer fit are left out. On a FIFO queue the deduplication id comes from the
    original's MessageId, so that a crash between copying and deleting makes no second copy within
    the deduplication interval.
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
        message_group_id=system.get("MessageGroupId"),
        message_deduplication_id=f"reject-{message.message_id}" if fifo else None,
    )


def _attributes(message: Message, source_arn: str, reason: str) -> MessageAttributes:
    ours = {
        SOURCE_ARN_ATTRIBUTE: _string(source_arn),
        REASON_ATTRIBUTE: _string(reason),
        MESSAGE_ID_ATTRIBUTE: _string(message.message_id),
    }
    theirs = without_rejection(message.message_attributes or {})
    kept = list(theirs)[: MESSAGE_ATTRIBUTES_MAX - len(ours)]
    return {**{name: theirs[name] for name in kept}, **ours}


def _string(text: str) -> MessageAttributeValue:
    allowed = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text[:REASON_CHARACTERS_MAX])
    return MessageAttributeValue(data_type="String", string_value=allowed or "no reason given")


class Rejecter:
    """Copies messages to the dead-letter queue: the one given, else the queue's own."""

    def __init__(
        self, client: SqsClient, queue_url: str, dead_letter_queue_url: str | None = None
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._dead_letter_queue_url = dead_letter_queue_url
        self._known: DeadLetters | None = None
        self._asking = asyncio.Lock()
        self._complained = False

    async def send_copy(self, message: Message, reason: str) -> None:
        """Put a copy into the dead-letter queue; delete the original after this.

        Raises NoDeadLetterQueue when there is none, and ServiceUnreachable or SqsError.
        """
        dead_letters = await self.dead_letters()
        if dead_letters.queue_url is None:
            raise NoDeadLetterQueue
        copy = dead_letter_copy(
            message,
            queue_url=dead_letters.queue_url,
            source_arn=dead_letters.source_arn,
            reason=reason,
        )
        await self._client.send_message(copy)

    def complain(self, error: NoDeadLetterQueue) -> None:
        """Log once that there is no dead-letter queue."""
        if not self._complained:
            self._complained = True
            _log.error(
                "Messages of %s are rejected, but there is nowhere to put them: %s"
                " They stay in the queue and fail again until it expires them.",
                self._queue_url,
                error,
            )

    async def dead_letters(self) -> DeadLetters:
        """Where rejected messages go. Asked of SQS once, when first needed.

        Raises ServiceUnreachable and SqsError.
        """
        async with self._asking:
            if self._known is None:
                self._known = await self._ask()
            return self._known

    async def _ask(self) -> DeadLetters:
        result = await self._client.get_queue_attributes(
            GetQueueAttributesRequest(
                queue_url=self._queue_url, attribute_names=["QueueArn", "RedrivePolicy"]
            )
        )
        attributes = result.attributes or {}
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        queue_url = self._dead_letter_queue_url
        target = queue_key_from_arn(policy.get("deadLetterTargetArn", ""))
        if queue_url is None and target is not None:
            # The ARN names no endpoint, so the URL is asked for rather than put together.
            found = await self._client.get_queue_url(
                GetQueueUrlRequest(
                    queue_name=target.name, queue_owner_aws_account_id=target.account_id
                )
            )
            queue_url = found.queue_url
        return DeadLetters(
            source_arn=attributes.get("QueueArn", self._queue_url),
            queue_url=queue_url,
            max_receive_count=int(policy["maxReceiveCount"]) if policy else None,
        )
