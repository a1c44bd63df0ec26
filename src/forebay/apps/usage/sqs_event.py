"""The event that AWS Lambda gives a function for messages of an SQS queue.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from forebay.errors import ForebayError
from forebay.protocol.actions import Message, MessageAttributeValue


class NotAnSqsEvent(ForebayError):
    """What the function was called with is no event of SQS. Give it an event source mapping of an
    SQS queue."""


class _Attribute(Struct, rename="camel"):
    data_type: str
    string_value: str | None = None
    #: Base64 in the event.
    binary_value: bytes | None = None


class _Record(Struct, rename="camel"):
    message_id: str
    receipt_handle: str
    body: str
    attributes: dict[str, str] = {}
    message_attributes: dict[str, _Attribute] | None = None
    md5_of_body: str = ""
    event_source_arn: str = msgspec.field(default="", name="eventSourceARN")


class Delivered(Struct, frozen=True):
    """One record of an event."""

    #: What AWS knows the message by in the function's answer.
    message_id: str
    queue_arn: str
    #: None when the record is not what AWS documents; `problem` says what is wrong.
    message: Message | None
    problem: str = ""


def delivered(event: Any) -> list[Delivered]:
    """The records of an event, in order.

    Raises NotAnSqsEvent when it has no records, or one that AWS could not be told of.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        raise NotAnSqsEvent
    return [_delivered(record) for record in records]


def _delivered(record: Any) -> Delivered:
    message_id = record.get("messageId") if isinstance(record, Mapping) else None
    if not isinstance(message_id, str) or not message_id:
        raise NotAnSqsEvent
    try:
        read = msgspec.convert(record, _Record)
    except msgspec.ValidationError as error:
        return Delivered(message_id, str(record.get("eventSourceARN", "")), None, str(error))
    return Delivered(message_id, read.event_source_arn, _message(read))


def _message(record: _Record) -> Message:
    return Message(
        message_id=record.message_id,
        receipt_handle=record.receipt_handle,
        md5_of_body=record.md5_of_body,
        body=record.body,
        attributes=record.attributes,
        message_attributes={
            name: MessageAttributeValue(
                data_type=each.data_type,
                string_value=each.string_value,
                binary_value=each.binary_value,
            )
            for name, each in (record.message_attributes or {}).items()
        }
        or None,
    )
