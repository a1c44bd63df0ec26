"""Moving the copies of rejected messages back, where SQS cannot.

Amazon SQS knows the source of a message that it moved to the dead-letter queue itself, and of no
other; a move task without a destination fails at the first copy that a worker put there. The copy
says where it comes from, so it is received, sent there and deleted. A crash in between leaves it in
both queues and never in none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from forebay.cli.connection import Connection
from forebay.protocol.actions import (
    ChangeMessageVisibilityRequest,
    DeleteMessageRequest,
    GetQueueUrlRequest,
    Message,
    MessageAttributeValue,
    ReceiveMessageRequest,
    SendMessageRequest,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX, queue_key_from_arn
from forebay.protocol.limits import BATCH_ENTRIES_MAX
from forebay.protocol.rejection import rejected_from, without_rejection

#: How long a message is hidden while the others are looked at, in seconds.
_HIDDEN_S = 120

#: How long an answer without messages may take, in seconds. A poll that does not wait overlooks
#: some messages on AWS.
_WAIT_S = 1


def move_rejected_copies(
    sqs: Connection, dead_letter_url: str, dead_letter_arn: str, rate: int | None
) -> Iterator[None]:
    """Move every copy back to the queue that it says it comes from; yields after each.

    A copy is believed when that queue is there and this is its dead-letter queue. At most `rate`
    copies go in a second. Messages that are no such copies are visible again in the end. Raises
    ServiceUnreachable and SqsError.
    """
    sources: dict[str, str | None] = {}
    others: dict[str, Message] = {}
    try:
        while messages := _receive(sqs, dead_letter_url):
            for message in messages:
                arn = rejected_from(message.message_attributes)
                if arn is not None and arn not in sources:
                    sources[arn] = _source_url(sqs, arn, dead_letter_arn)
                source_url = sources[arn] if arn is not None else None
                if source_url is None:
                    others[message.message_id] = message
                    continue
                sqs.run(sqs.client.send_message(_original(message, source_url)))
                handle = message.receipt_handle
                sqs.run(
                    sqs.client.delete_message(
                        DeleteMessageRequest(queue_url=dead_letter_url, receipt_handle=handle)
                    )
                )
                yield
                if rate is not None:
                    sqs.sleep(1 / rate)
    finally:
        for message in others.values():
            sqs.run(
                sqs.client.change_message_visibility(
                    ChangeMessageVisibilityRequest(
                        queue_url=dead_letter_url,
                        receipt_handle=message.receipt_handle,
                        visibility_timeout=0,
                    )
                )
            )


def _receive(sqs: Connection, url: str) -> list[Message]:
    request = ReceiveMessageRequest(
        queue_url=url,
        max_number_of_messages=BATCH_ENTRIES_MAX,
        visibility_timeout=_HIDDEN_S,
        wait_time_seconds=_WAIT_S,
        message_system_attribute_names=["All"],
        message_attribute_names=["All"],
    )
    return sqs.run(sqs.client.receive_message(request)).messages or []


def _source_url(sqs: Connection, arn: str, dead_letter_arn: str) -> str | None:
    """The URL of a copy's source; None when it has no such queue, or another dead-letter queue."""
    key = queue_key_from_arn(arn)
    if key is None:
        return None
    request = GetQueueUrlRequest(queue_name=key.name, queue_owner_aws_account_id=key.account_id)
    try:
        url = sqs.run(sqs.client.get_queue_url(request)).queue_url
        policy = json.loads(sqs.attributes(url, "RedrivePolicy").get("RedrivePolicy", "{}"))
    except SqsError as error:
        if error.fault != QUEUE_DOES_NOT_EXIST:
            raise
        return None
    return url if policy.get("deadLetterTargetArn") == dead_letter_arn else None


def _original(copy: Message, source_url: str) -> SendMessageRequest:
    """The message as it was before it was rejected.

    On a FIFO queue a second one, after a crash between sending and deleting, collapses into it.
    """
    system = copy.attributes or {}
    trace_header = system.get("AWSTraceHeader")
    fifo = source_url.endswith(FIFO_SUFFIX)
    return SendMessageRequest(
        queue_url=source_url,
        message_body=copy.body,
        message_attributes=without_rejection(copy.message_attributes or {}) or None,
        message_system_attributes=(
            {"AWSTraceHeader": MessageAttributeValue(data_type="String", string_value=trace_header)}
            if trace_header
            else None
        ),
        message_group_id=system.get("MessageGroupId"),
        message_deduplication_id=f"redrive-{copy.message_id}" if fifo else None,
    )
