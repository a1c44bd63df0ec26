"""Redrive policies: where a message goes that is received too often, and who may send it there.

Source: SQSDeveloperGuide/sqs-dead-letter-queues.html and API SetQueueAttributes.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from forebay.protocol.identifiers import QueueKey, queue_key_from_arn
from forebay.protocol.integers import read_integer
from forebay.protocol.limits import (
    MAX_RECEIVE_COUNT_MAX,
    MAX_RECEIVE_COUNT_MIN,
    REDRIVE_ALLOW_SOURCES_MAX,
)


class PolicyError(ValueError):
    """A redrive policy cannot be read. The text is the reason that SQS gives."""


class RedrivePolicy(Struct, frozen=True):
    """The queue that takes over a message after `max_receive_count` receives."""

    target: QueueKey
    target_arn: str
    max_receive_count: int


class RedriveAllowPolicy(Struct, frozen=True):
    """The source queues that may name this queue as their dead-letter queue."""

    #: `allowAll`, `denyAll` or `byQueue`.
    permission: str
    sources: tuple[QueueKey, ...] = ()

    def allows(self, source: QueueKey) -> bool:
        """Whether `source` may name this queue as its dead-letter queue."""
        if self.permission == "byQueue":
            return source in self.sources
        return self.permission == "allowAll"


class _RedrivePolicyJson(Struct, rename="camel"):
    dead_letter_target_arn: str
    max_receive_count: int | str


class _RedriveAllowPolicyJson(Struct, rename="camel"):
    redrive_permission: str
    source_queue_arns: list[str] | None = None


def parse_redrive_policy(text: str) -> RedrivePolicy:
    """Read the RedrivePolicy attribute. Raises PolicyError."""
    try:
        policy = msgspec.json.decode(text, type=_RedrivePolicyJson)
    except msgspec.ValidationError as error:
        raise PolicyError(
            f"Redrive policy does not contain mandatory attributes: {error}."
        ) from error
    except msgspec.DecodeError as error:
        raise PolicyError("Redrive policy is not a valid JSON map.") from error
    target = queue_key_from_arn(policy.dead_letter_target_arn)
    if target is None:
        raise PolicyError("Dead letter target is not the ARN of a queue.")
    try:
        max_receive_count = read_integer(str(policy.max_receive_count))
    except ValueError as error:
        raise PolicyError("Invalid value for maxReceiveCount.") from error
    if not MAX_RECEIVE_COUNT_MIN <= max_receive_count <= MAX_RECEIVE_COUNT_MAX:
        raise PolicyError(
            f"Invalid value for maxReceiveCount: {max_receive_count}, valid values are from"
            f" {MAX_RECEIVE_COUNT_MIN} to {MAX_RECEIVE_COUNT_MAX} both inclusive."
        )
    return RedrivePolicy(target, policy.dead_letter_target_arn, max_receive_count)


def canonical_redrive_policy(policy: RedrivePolicy) -> str:
    """The RedrivePolicy attribute as SQS answers it: the count as a number, whatever was sent."""
    return msgspec.json.encode(
        {
            "deadLetterTargetArn": policy.target_arn,
            "maxReceiveCount": policy.max_receive_count,
        }
    ).decode()


def parse_redrive_allow_policy(text: str) -> RedriveAllowPolicy:
    """Read the RedriveAllowPolicy attribute. Raises PolicyError."""
    try:
        policy = msgspec.json.decode(text, type=_RedriveAllowPolicyJson)
    except msgspec.DecodeError as error:
        raise PolicyError("Redrive allow policy is not a valid JSON map.") from error
    if policy.redrive_permission not in {"allowAll", "denyAll", "byQueue"}:
        raise PolicyError("redrivePermission must be allowAll, denyAll or byQueue.")
    arns = policy.source_queue_arns or []
    if (policy.redrive_permission == "byQueue") != bool(arns):
        raise PolicyError("sourceQueueArns goes with redrivePermission byQueue, and only with it.")
    if len(arns) > REDRIVE_ALLOW_SOURCES_MAX:
        raise PolicyError(f"sourceQueueArns takes at most {REDRIVE_ALLOW_SOURCES_MAX} queues.")
    sources = [queue_key_from_arn(arn) for arn in arns]
    if None in sources:
        raise PolicyError("sourceQueueArns must hold ARNs of queues.")
    return RedriveAllowPolicy(
        policy.redrive_permission, tuple(source for source in sources if source is not None)
    )
