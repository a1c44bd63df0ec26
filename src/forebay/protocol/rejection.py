"""What a rejected message's copy in the dead-letter queue says of itself.

A worker that can never handle a message sends a copy to the dead-letter queue and deletes the
message. SQS did not move it and does not know where it comes from, so the copy says it.
"""

from __future__ import annotations

from forebay.protocol.actions import MessageAttributes

#: Message attributes of a copy: the ARN of the queue it comes from, why it was rejected, and the
#: MessageId it had there.
SOURCE_ARN_ATTRIBUTE = "ForebaySourceArn"
REASON_ATTRIBUTE = "ForebayRejectReason"
MESSAGE_ID_ATTRIBUTE = "ForebayMessageId"

REJECTION_ATTRIBUTES = (SOURCE_ARN_ATTRIBUTE, REASON_ATTRIBUTE, MESSAGE_ID_ATTRIBUTE)


def rejected_from(attributes: MessageAttributes | None) -> str | None:
    """The ARN of the queue that a copy says it comes from; None for any other message."""
    source = (attributes or {}).get(SOURCE_ARN_ATTRIBUTE)
    return source.string_value if source is not None else None


def without_rejection(attributes: MessageAttributes) -> MessageAttributes:
    """The attributes that the message had before it was rejected."""
    return {name: value for name, value in attributes.items() if name not in REJECTION_ATTRIBUTES}
