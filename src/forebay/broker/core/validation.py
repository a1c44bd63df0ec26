"""What SQS refuses in a request, with its texts.

Source: API SendMessage, SendMessageBatch, ReceiveMessage, ChangeMessageVisibility. Where the texts
were seen stands beside each of them in tests/core/test_error_texts.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from forebay.protocol import errors, limits
from forebay.protocol.errors import Fault, SqsError

#: The control characters that XML 1.0 has no place for.
_FORBIDDEN_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r")

#: All that XML 1.0 has no place for.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_BATCH_ENTRY_ID = re.compile(rf"[\w-]{{1,{limits.BATCH_ENTRY_ID_CHARACTERS_MAX}}}", re.ASCII)

#: MessageGroupId, MessageDeduplicationId and ReceiveRequestAttemptId: alphanumeric and punctuation.
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{limits.TOKEN_CHARACTERS_MAX}}}")


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


def encoded_text(text: str) -> bytes | None:
    """The text in UTF-8; None when it holds what XML cannot."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return None
    if len(encoded.translate(None, _FORBIDDEN_CONTROLS)) != len(encoded):
        return None
    if len(encoded) != len(text) and ("\ufffe" in text or "\uffff" in text):
        return None
    return encoded


def forbidden_character(text: str, place: str) -> str:
    """SQS's words for the first character of a text that XML cannot hold."""
    found = _FORBIDDEN.search(text)
    assert found is not None
    return (
        f"Invalid binary character '#x{ord(found[0]):X}' was found in the {place}, the set of"
        " allowed characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD]"
        " | [#x10000-#x10FFFF]"
    )


def encoded_body(body: str) -> bytes:
    """The body in UTF-8. Raises SqsError when it is empty or holds characters XML cannot."""
    if not body:
        raise missing("MessageBody")
    encoded = encoded_text(body)
    if encoded is None:
        raise SqsError(errors.INVALID_MESSAGE_CONTENTS, forbidden_character(body, "message body"))
    return encoded


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


def check_visibility_of_receive(value: int) -> None:
    """Raise SqsError unless SQS takes the visibility timeout of a receive."""
    if not 0 <= value <= limits.VISIBILITY_TIMEOUT_SECONDS_MAX:
        raise invalid(
            "VisibilityTimeout",
            value,
            f"Must be >= 0 and <= {limits.VISIBILITY_TIMEOUT_SECONDS_MAX}, if provided.",
        )


def check_visibility_timeout(value: int) -> None:
    """Raise SqsError unless SQS takes the visibility timeout of a change."""
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
