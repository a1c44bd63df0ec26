"""Redrive policies: where a message goes that is received too often, and who may send it there.

The `canonical_` functions check what somebody sets and give it SQS's own form; that form is what is
stored, and what the others read.

Source: SQSDeveloperGuide/sqs-dead-letter-queues.html and API SetQueueAttributes. Where the texts of
the errors were seen stands beside each of them in tests/core/test_queue_error_texts.py.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from forebay.broker.core import validation
from forebay.protocol import errors
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import QueueKey, queue_key_from_arn
from forebay.protocol.integers import read_integer
from forebay.protocol.limits import (
    MAX_RECEIVE_COUNT_MAX,
    MAX_RECEIVE_COUNT_MIN,
    REDRIVE_ALLOW_SOURCES_MAX,
)

_COUNT, _TARGET = "maxReceiveCount", "deadLetterTargetArn"
_PERMISSION, _SOURCES = "redrivePermission", "sourceQueueArns"
_BY_QUEUE = "byQueue"
_PERMISSIONS = ("allowAll", "denyAll", _BY_QUEUE)


class RedrivePolicy(Struct, frozen=True):
    """The queue that takes over a message after `max_receive_count` receives."""

    target: QueueKey
    max_receive_count: int


class RedriveAllowPolicy(Struct, frozen=True):
    """The source queues that may name this queue as their dead-letter queue."""

    #: `allowAll`, `denyAll` or `byQueue`.
    permission: str
    sources: tuple[QueueKey, ...] = ()

    def allows(self, source: QueueKey) -> bool:
        """Whether `source` may name this queue as its dead-letter queue."""
        if self.permission == _BY_QUEUE:
            return source in self.sources
        return self.permission == "allowAll"


def redrive_policy(text: str) -> RedrivePolicy:
    """What a stored RedrivePolicy says."""
    policy = msgspec.json.decode(text)
    target = queue_key_from_arn(policy[_TARGET])
    assert target is not None
    return RedrivePolicy(target, policy[_COUNT])


def redrive_allow_policy(text: str) -> RedriveAllowPolicy:
    """What a stored RedriveAllowPolicy says."""
    policy = msgspec.json.decode(text)
    sources = map(queue_key_from_arn, policy.get(_SOURCES) or ())
    return RedriveAllowPolicy(policy[_PERMISSION], tuple(key for key in sources if key is not None))


def canonical_redrive_policy(text: str) -> str:
    """The RedrivePolicy attribute as SQS answers it: the count as a number, whatever was sent.

    Raises SqsError: InvalidAttributeValue, InvalidParameterValue.
    """
    policy = _json_map(text)
    if policy is None:
        raise SqsError(
            errors.INVALID_ATTRIBUTE_VALUE,
            "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid"
            " JSON map.",
        )
    for name in (_COUNT, _TARGET):
        if name not in policy:
            raise _refused(text, f"Redrive policy does not contain mandatory attribute: {name}.")
    count, target = policy[_COUNT], policy[_TARGET]
    count = count if isinstance(count, str) else _encode(count)
    try:
        number = read_integer(count)
    except ValueError:
        number = 0
    if not MAX_RECEIVE_COUNT_MIN <= number <= MAX_RECEIVE_COUNT_MAX:
        raise _refused(
            text,
            f"Invalid value for maxReceiveCount: {count}, valid values are from"
            f" {MAX_RECEIVE_COUNT_MIN} to {MAX_RECEIVE_COUNT_MAX} both inclusive.",
        )
    if not isinstance(target, str) or not _is_arn(target):
        raise _refused(text, "Invalid value for deadLetterTargetArn.")
    if queue_key_from_arn(target) is None:
        raise _refused(text, "Only SQS queues are valid resources for deadLetterTargetArn.")
    if len(policy) > 2:
        raise _refused(text, f"Only following attributes are supported: [{_COUNT}, {_TARGET}].")
    return _encode({_TARGET: target, _COUNT: number})


def canonical_redrive_allow_policy(text: str) -> str:
    """The RedriveAllowPolicy attribute as SQS answers it.

    Raises SqsError: InvalidAttributeValue, InvalidParameterValue.
    """
    policy = _json_map(text) or {}
    permission, sources = policy.get(_PERMISSION), policy.get(_SOURCES)
    if (
        permission not in _PERMISSIONS
        or policy.keys() - {_PERMISSION, _SOURCES}
        or not isinstance(sources, list | None)
        or any(not isinstance(arn, str) or queue_key_from_arn(arn) is None for arn in sources or ())
    ):
        raise SqsError(
            errors.INVALID_ATTRIBUTE_VALUE,
            "Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create"
            " the redrive allow policy, as it\u2019s in an unsupported format.",
        )
    reason = None
    if permission == _BY_QUEUE and not sources:
        reason = (
            "When you specify the byQueue permission type, you must also specify one or more"
            " sourceQueueArns values."
        )
    elif permission != _BY_QUEUE and sources is not None:
        reason = (
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue."
        )
    elif sources is not None and len(sources) > REDRIVE_ALLOW_SOURCES_MAX:
        reason = (
            "The maximum number of source queue ARNs you can specify is"
            f" {REDRIVE_ALLOW_SOURCES_MAX}."
        )
    if reason is not None:
        reason = f"Amazon SQS can't create the redrive allow policy. {reason}"
        raise validation.invalid("RedriveAllowPolicy", text, reason)
    return _encode({_PERMISSION: permission} | ({} if sources is None else {_SOURCES: sources}))


def _refused(text: str, reason: str) -> SqsError:
    return validation.invalid("RedrivePolicy", text, reason)


def _json_map(text: str) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return None


def _is_arn(text: str) -> bool:
    parts = text.split(":", 5)
    return len(parts) == 6 and parts[0] == "arn" and all(parts[1:])


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
