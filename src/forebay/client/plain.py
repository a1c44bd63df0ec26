"""Requests made from plain Python values: names, texts, numbers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from typing import TypeAlias

from forebay.errors import SettingsError
from forebay.protocol.actions import (
    CreateQueueRequest,
    GetQueueUrlRequest,
    MessageAttributes,
    MessageAttributeValue,
    SendMessageRequest,
)
from forebay.protocol.errors import INVALID_PARAMETER_VALUE, SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX, queue_key_from_arn

#: Receives after which a message goes to the dead-letter queue unless another number is given.
MAX_RECEIVE_COUNT = 3

#: What an attribute of a queue may be given as.
QueueAttribute: TypeAlias = str | int | bool | Mapping[str, object]

#: What an attribute of a message may be given as.
MessageAttribute: TypeAlias = str | int | float | bytes


def create_queue_request(
    name: str,
    attributes: Mapping[str, QueueAttribute],
    *,
    tags: Mapping[str, str] | None = None,
    dead_letter_arn: str | None = None,
    max_receive_count: int = MAX_RECEIVE_COUNT,
) -> CreateQueueRequest:
    """Attributes have SQS's names, and values as Python has them.

    A name that ends in .fifo makes a FIFO queue. Raises SettingsError when there are two redrive
    policies, and SqsError for a value that is no JSON.
    """
    wanted = {key: _queue_attribute(key, value) for key, value in attributes.items()}
    if name.endswith(FIFO_SUFFIX):
        wanted.setdefault("FifoQueue", "true")
    if dead_letter_arn is not None:
        if "RedrivePolicy" in wanted:
            raise SettingsError("Give either dead_letter_queue or RedrivePolicy, not both.")
        policy = {"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": max_receive_count}
        wanted["RedrivePolicy"] = json.dumps(policy)
    return CreateQueueRequest(
        queue_name=name, attributes=wanted or None, tags=dict(tags) if tags else None
    )


def queue_url_request(queue: str) -> GetQueueUrlRequest:
    """Ask for the URL of a queue that is given by name or by ARN."""
    named = queue_key_from_arn(queue)
    if named is None:
        return GetQueueUrlRequest(queue_name=queue)
    return GetQueueUrlRequest(queue_name=named.name, queue_owner_aws_account_id=named.account_id)


def send_request(
    queue_url: str,
    body: str | Mapping[str, object],
    *,
    group_id: str | None = None,
    deduplication_id: str | None = None,
    delay_s: int | None = None,
    attributes: Mapping[str, MessageAttribute] | None = None,
) -> SendMessageRequest:
    """A mapping is sent as JSON. Attributes have values as Python has them.

    Raises SqsError for a mapping that is no JSON.
    """
    return SendMessageRequest(
        queue_url=queue_url,
        message_body=body if isinstance(body, str) else _json("body", body),
        message_attributes=message_attributes(attributes),
        delay_seconds=delay_s,
        message_group_id=group_id,
        message_deduplication_id=deduplication_id,
    )


def message_attributes(
    attributes: Mapping[str, MessageAttribute] | None,
) -> MessageAttributes | None:
    """Attributes of a message from values as Python has them; None for none.

    Raises SqsError for a name that is no text, and for a value that is no text, number or bytes.
    """
    if not attributes:
        return None
    if not isinstance(attributes, Mapping):
        raise SqsError(
            INVALID_PARAMETER_VALUE,
            f"The attributes are {attributes!r:.100}; they must be a mapping of names to values.",
        )
    return {
        _text("name of an attribute", name, "a text"): _message_attribute(name, value)
        for name, value in attributes.items()
    }


def _queue_attribute(name: str, value: QueueAttribute) -> str:
    """An attribute's value as SQS takes it: a text, whatever it means."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json(name, value) if isinstance(value, Mapping) else str(value)


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SqsError(
            INVALID_PARAMETER_VALUE, f"The {name} cannot be written as JSON: {error}."
        ) from error


def _message_attribute(name: str, value: MessageAttribute) -> MessageAttributeValue:
    if isinstance(value, bytes):
        return MessageAttributeValue(data_type="Binary", binary_value=value)
    if not isinstance(value, bool) and (
        isinstance(value, int) or (isinstance(value, float) and isfinite(value))
    ):
        return MessageAttributeValue(data_type="Number", string_value=str(value))
    text = _text(f"attribute {name!r}", value, "a text, a number or bytes")
    return MessageAttributeValue(data_type="String", string_value=text)


def _text(what: str, value: object, may_be: str) -> str:
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):
            value.encode()
            return value
    raise SqsError(INVALID_PARAMETER_VALUE, f"The {what} is {value!r:.100}; it must be {may_be}.")
