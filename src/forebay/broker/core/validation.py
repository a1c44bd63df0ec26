"""What SQS refuses in a request, with its texts.

Source: API SendMessage, SendMessageBatch, ReceiveMessage, ChangeMessageVisibility, and
SQSDeveloperGuide/sqs-message-metadata.html for message attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from forebay.protocol import errors, limits
from forebay.protocol.actions import MessageAttributes, MessageAttributeValue
from forebay.protocol.errors import Fault, SqsError

#: The control characters that XML 1.0 has no place for.
_FORBIDDEN_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r")

_BATCH_ENTRY_ID = re.compile(rf"[\w-]{{1,{limits.BATCH_ENTRY_ID_CHARACTERS_MAX}}}", re.ASCII)

#: MessageGroupId, MessageDeduplicationId and ReceiveRequestAttemptId: alphanumeric and punctuation.
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{limits.TOKEN_CHARACTERS_MAX}}}")

_ATTRIBUTE_NAME = re.compile(r"[\w.-]+")
_ATTRIBUTE_TYPES = ("String", "Number", "Binary")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

#: The one message system attribute that a sender may set.
_SENDABLE_SYSTEM_ATTRIBUTE = "AWSTraceHeader"


def invalid(
    parameter: str, value: object, reason: str, *, in_batch: Fault | None = None
) -> SqsError:
    """The error for a value out of range, in SQS's form.

    For some values SQS answers an entry of a batch with the reason alone; `in_batch` is the fault
    that it answers then.
    """
    return SqsError(
        errors.INVALID_PARAMETER_VALUE,
        f"Value {value} for parameter {parameter} is invalid. Reason: {reason}",
        in_batch=None if in_batch is None else SqsError(in_batch, reason.removesuffix(".")),
    )


def missing(parameter: str) -> SqsError:
    """The error for a parameter that is not there."""
    return SqsError(
        errors.MISSING_PARAMETER, f"The request must contain the parameter {parameter}."
    )


def encoded_text(text: str) -> bytes:
    """The text in UTF-8. Raises SqsError (InvalidMessageContents) for what XML cannot hold."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise SqsError(errors.INVALID_MESSAGE_CONTENTS) from error
    if len(encoded.translate(None, _FORBIDDEN_CONTROLS)) != len(encoded):
        raise SqsError(errors.INVALID_MESSAGE_CONTENTS)
    if len(encoded) != len(text) and ("\ufffe" in text or "\uffff" in text):
        raise SqsError(errors.INVALID_MESSAGE_CONTENTS)
    return encoded


def encoded_body(body: str) -> bytes:
    """The body in UTF-8. Raises SqsError when it is empty or holds characters XML cannot."""
    if not body:
        raise missing("MessageBody")
    return encoded_text(body)


def too_long(maximum_bytes: int) -> SqsError:
    """What is said of a message that is, with its attributes, over the queue's limit.

    Source of what an entry of a batch is told: https://github.com/smaskalik/sqsmover/pull/23
    """
    reason = f"Reason: Message must be shorter than {maximum_bytes} bytes."
    return SqsError(
        errors.INVALID_PARAMETER_VALUE,
        f"One or more parameters are invalid. {reason}",
        in_batch=SqsError(
            errors.INVALID_PARAMETER_VALUE, f"One or more parameters cannot be validated. {reason}"
        ),
    )


def attributes_size_bytes(attributes: Mapping[str, MessageAttributeValue]) -> int:
    """What the attributes count towards the size of the message: each name, type and value."""
    size = 0
    for name, value in attributes.items():
        size += len(name.encode()) + len(value.data_type.encode())
        size += len(value.binary_value or b"") + len((value.string_value or "").encode())
    return size


def check_message_attributes(attributes: MessageAttributes) -> None:
    """Raise SqsError when SQS would refuse the attributes."""
    if len(attributes) > limits.MESSAGE_ATTRIBUTES_MAX:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum"
            f" [{limits.MESSAGE_ATTRIBUTES_MAX}].",
        )
    for name, value in attributes.items():
        _check_attribute_name(name)
        _check_attribute_value(name, value)


def _check_attribute_name(name: str) -> None:
    if not name:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE, "The message attribute name must not be empty."
        )
    if len(name) > limits.MESSAGE_ATTRIBUTE_NAME_CHARACTERS_MAX:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "Message (user) attribute names must be shorter than"
            f" {limits.MESSAGE_ATTRIBUTE_NAME_CHARACTERS_MAX} characters.",
        )
    if name.lower().startswith(("aws.", "amazon.")):
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'."
            " These strings are reserved for internal use.",
        )
    dotted_badly = name.startswith(".") or name.endswith(".") or ".." in name
    if dotted_badly or not _ATTRIBUTE_NAME.fullmatch(name):
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            f"Invalid attribute name '{name}': it may hold letters, digits, underscores, hyphens"
            " and periods, with no period at either end or doubled.",
        )


def _check_attribute_value(name: str, value: MessageAttributeValue) -> None:
    kind = value.data_type.partition(".")[0]
    too_long = len(value.data_type) > limits.MESSAGE_ATTRIBUTE_TYPE_CHARACTERS_MAX
    if kind not in _ATTRIBUTE_TYPES or too_long:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            f"The type of message (user) attribute '{name}' is invalid. You must use only the"
            " following supported type prefixes: Binary, Number, String.",
        )
    content = value.binary_value if kind == "Binary" else value.string_value
    if not content:
        field = "binary" if kind == "Binary" else "string"
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            f"The message (user) attribute '{name}' must contain a non-empty {field} value.",
        )
    if isinstance(content, str):
        encoded_text(content)
        if kind == "Number" and not _NUMBER.fullmatch(content):
            raise SqsError(
                errors.INVALID_PARAMETER_VALUE,
                f"Can't cast the value of message (user) attribute '{name}' to a number.",
            )


def trace_header(system_attributes: MessageAttributes | None) -> str | None:
    """The AWSTraceHeader that a sender set. Raises SqsError for any other system attribute."""
    if not system_attributes:
        return None
    for name, value in system_attributes.items():
        if name != _SENDABLE_SYSTEM_ATTRIBUTE:
            raise SqsError(
                errors.INVALID_PARAMETER_VALUE,
                f"Message system attribute name '{name}' is invalid.",
            )
        if value.data_type != "String" or not value.string_value:
            raise SqsError(
                errors.INVALID_PARAMETER_VALUE,
                f"The message system attribute '{name}' must contain a non-empty string value.",
            )
    return system_attributes[_SENDABLE_SYSTEM_ATTRIBUTE].string_value


def check_token(parameter: str, value: str) -> None:
    """Raise SqsError unless the value is a group, deduplication or attempt id that SQS takes."""
    if not _TOKEN.fullmatch(value):
        raise invalid(
            parameter,
            value,
            f"{parameter} can only include alphanumeric and punctuation characters."
            f" 1 to {limits.TOKEN_CHARACTERS_MAX} in length.",
            in_batch=errors.INVALID_PARAMETER_VALUE,
        )


def check_delay_seconds(value: int) -> None:
    """Raise SqsError unless SQS takes the delay."""
    if not 0 <= value <= limits.DELAY_SECONDS_MAX:
        raise invalid(
            "DelaySeconds",
            value,
            f"DelaySeconds must be >= 0 and <= {limits.DELAY_SECONDS_MAX}.",
        )


def check_visibility_timeout(value: int) -> None:
    """Raise SqsError unless SQS takes the visibility timeout."""
    if not 0 <= value <= limits.VISIBILITY_TIMEOUT_SECONDS_MAX:
        raise invalid(
            "VisibilityTimeout",
            value,
            "VisibilityTimeout must be an integer between 0 and"
            f" {limits.VISIBILITY_TIMEOUT_SECONDS_MAX}.",
        )


def check_max_number_of_messages(value: int) -> None:
    """Raise SqsError unless SQS takes the number."""
    if not 1 <= value <= limits.BATCH_ENTRIES_MAX:
        raise invalid(
            "MaxNumberOfMessages",
            value,
            f"Must be between 1 and {limits.BATCH_ENTRIES_MAX}, if provided.",
        )


def check_wait_time_seconds(value: int) -> None:
    """Raise SqsError unless SQS takes the wait time."""
    if not 0 <= value <= limits.WAIT_TIME_SECONDS_MAX:
        raise invalid(
            "WaitTimeSeconds",
            value,
            f"Must be >= 0 and <= {limits.WAIT_TIME_SECONDS_MAX}, if provided.",
        )


class _BatchEntry(Protocol):
    @property
    def id(self) -> str: ...


def check_batch(entries: Sequence[_BatchEntry], entry_name: str) -> None:
    """Raise SqsError when a batch is refused whole: its length or the ids of its entries.

    `entry_name` is what SQS calls an entry. Source of the texts: answers of SQS in
    https://github.com/aws/aws-sdk-php/issues/630 and
    https://github.com/ali-essam/wtsqs/issues/7
    """
    if not entries:
        raise SqsError(
            errors.EMPTY_BATCH_REQUEST, f"There should be at least one {entry_name} in the request."
        )
    if len(entries) > limits.BATCH_ENTRIES_MAX:
        raise SqsError(
            errors.TOO_MANY_ENTRIES_IN_BATCH_REQUEST,
            f"Maximum number of entries per request are {limits.BATCH_ENTRIES_MAX}."
            f" You have sent {len(entries)}.",
        )
    seen: set[str] = set()
    for entry in entries:
        if not _BATCH_ENTRY_ID.fullmatch(entry.id):
            raise SqsError(errors.INVALID_BATCH_ENTRY_ID)
        if entry.id in seen:
            raise SqsError(errors.BATCH_ENTRY_IDS_NOT_DISTINCT, f"Id {entry.id} repeated.")
        seen.add(entry.id)


def check_batch_size(sizes_bytes: Iterable[int]) -> None:
    """Raise SqsError when the messages of a batch are too long together."""
    total_bytes = sum(sizes_bytes)
    if total_bytes > limits.MESSAGE_BYTES_MAX:
        raise SqsError(
            errors.BATCH_REQUEST_TOO_LONG,
            f"Batch requests cannot be longer than {limits.MESSAGE_BYTES_MAX} bytes."
            f" You have sent {total_bytes} bytes.",
        )
