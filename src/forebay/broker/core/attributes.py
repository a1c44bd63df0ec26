"""Queue attributes: one table of what SQS knows, and the settings a queue runs on.

Source: API CreateQueue, SetQueueAttributes and GetQueueAttributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from msgspec import Struct

from forebay.broker.core import redrive
from forebay.broker.core.policy_document import canonical_policy
from forebay.protocol import errors, limits
from forebay.protocol.errors import SqsError
from forebay.protocol.integers import read_integer


class Kind(Enum):
    """Which queues an attribute belongs to."""

    ANY = "any"
    FIFO = "fifo"


class Attribute(Struct, frozen=True):
    """One row of the table: a settable attribute."""

    name: str
    #: The value of a queue that nobody set it on; None when it is then left out of answers.
    default: str | None
    #: The value in SQS's own form. Raises ValueError when SQS refuses it without a reason, and
    #: SqsError when it gives one.
    canonical: Callable[[str], str]
    kind: Kind = Kind.ANY
    #: Whether "" removes the attribute.
    removable: bool = False


def _whole_number(minimum: int, maximum: int) -> Callable[[str], str]:
    def canonical(value: str) -> str:
        number = read_integer(value)
        if not minimum <= number <= maximum:
            raise ValueError(value)
        return str(number)

    return canonical


def _one_of(*choices: str) -> Callable[[str], str]:
    def canonical(value: str) -> str:
        if value not in choices:
            raise ValueError(value)
        return value

    return canonical


def _boolean(value: str) -> str:
    return _one_of("true", "false")(value.lower())


#: Every attribute that CreateQueue and SetQueueAttributes take, by name.
SETTABLE: dict[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute(
            "VisibilityTimeout",
            str(limits.VISIBILITY_TIMEOUT_SECONDS_DEFAULT),
            _whole_number(0, limits.VISIBILITY_TIMEOUT_SECONDS_MAX),
        ),
        Attribute("DelaySeconds", "0", _whole_number(0, limits.DELAY_SECONDS_MAX)),
        Attribute(
            "MessageRetentionPeriod",
            str(limits.MESSAGE_RETENTION_SECONDS_DEFAULT),
            _whole_number(
                limits.MESSAGE_RETENTION_SECONDS_MIN, limits.MESSAGE_RETENTION_SECONDS_MAX
            ),
        ),
        Attribute(
            "MaximumMessageSize",
            str(limits.MESSAGE_BYTES_MAX),
            _whole_number(limits.MAXIMUM_MESSAGE_SIZE_BYTES_MIN, limits.MESSAGE_BYTES_MAX),
        ),
        Attribute(
            "ReceiveMessageWaitTimeSeconds", "0", _whole_number(0, limits.WAIT_TIME_SECONDS_MAX)
        ),
        Attribute("RedrivePolicy", None, redrive.canonical_redrive_policy, removable=True),
        Attribute(
            "RedriveAllowPolicy", None, redrive.canonical_redrive_allow_policy, removable=True
        ),
        Attribute("Policy", None, canonical_policy, removable=True),
        Attribute("KmsMasterKeyId", None, str, removable=True),
        Attribute(
            "KmsDataKeyReusePeriodSeconds",
            None,
            _whole_number(
                limits.KMS_DATA_KEY_REUSE_SECONDS_MIN, limits.KMS_DATA_KEY_REUSE_SECONDS_MAX
            ),
        ),
        Attribute("SqsManagedSseEnabled", "true", _boolean),
        Attribute("FifoQueue", None, _boolean, Kind.FIFO),
        Attribute("ContentBasedDeduplication", "false", _boolean, Kind.FIFO),
        Attribute("DeduplicationScope", "queue", _one_of("queue", "messageGroup"), Kind.FIFO),
        Attribute(
            "FifoThroughputLimit", "perQueue", _one_of("perQueue", "perMessageGroupId"), Kind.FIFO
        ),
    )
}

#: What GetQueueAttributes works out beside the settable ones.
COMPUTED = frozenset(
    {
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "CreatedTimestamp",
        "LastModifiedTimestamp",
        "QueueArn",
    }
)

#: SQS has texts of its own for these two on a standard queue.
_FIFO_ONLY_TEXTS = {
    "DeduplicationScope": "You can specify the DeduplicationScope only when FifoQueue is set to"
    " true.",
    "FifoThroughputLimit": "You can specify the FifoThroughputLimit only when FifoQueue is set to"
    " true.",
}


class QueueSettings(Struct, frozen=True):
    """The attributes of a queue as its code reads them."""

    fifo: bool
    visibility_timeout_ms: int
    delay_ms: int
    retention_ms: int
    maximum_message_bytes: int
    wait_time_s: int
    content_based_deduplication: bool
    #: Whether deduplication ids are told apart by message group.
    deduplicate_by_group: bool
    redrive_policy: redrive.RedrivePolicy | None
    redrive_allow_policy: redrive.RedriveAllowPolicy


def settings_of(attributes: Mapping[str, str]) -> QueueSettings:
    """The settings of a queue with these (canonical) attributes."""

    def value(name: str) -> str:
        return attributes.get(name, SETTABLE[name].default or "")

    policy = attributes.get("RedrivePolicy")
    allow_policy = attributes.get("RedriveAllowPolicy")
    return QueueSettings(
        fifo=value("FifoQueue") == "true",
        visibility_timeout_ms=int(value("VisibilityTimeout")) * 1000,
        delay_ms=int(value("DelaySeconds")) * 1000,
        retention_ms=int(value("MessageRetentionPeriod")) * 1000,
        maximum_message_bytes=int(value("MaximumMessageSize")),
        wait_time_s=int(value("ReceiveMessageWaitTimeSeconds")),
        content_based_deduplication=value("ContentBasedDeduplication") == "true",
        deduplicate_by_group=value("DeduplicationScope") == "messageGroup",
        redrive_policy=redrive.redrive_policy(policy) if policy else None,
        redrive_allow_policy=redrive.redrive_allow_policy(allow_policy)
        if allow_policy
        else redrive.RedriveAllowPolicy("allowAll"),
    )


def canonical_attributes(given: Mapping[str, str], *, fifo: bool) -> dict[str, str]:
    """The attributes in SQS's own form; "" stands for "remove it".

    Raises SqsError: InvalidAttributeName for a name that does not exist or does not fit the type of
    the queue or another one that is given, InvalidAttributeValue, InvalidParameterValue or
    OverLimit for a value that is refused.
    """
    canonical: dict[str, str] = {}
    for name, value in given.items():
        attribute = SETTABLE.get(name)
        if attribute is None or (attribute.kind is Kind.FIFO and not fifo):
            text = _FIFO_ONLY_TEXTS.get(name, f"Unknown Attribute {name}.")
            raise SqsError(errors.INVALID_ATTRIBUTE_NAME, text)
        if value == "" and attribute.removable:
            canonical[name] = ""
            continue
        try:
            canonical[name] = attribute.canonical(value)
        except ValueError as error:
            raise SqsError(
                errors.INVALID_ATTRIBUTE_VALUE, f"Invalid value for the parameter {name}."
            ) from error
    if canonical.get("KmsMasterKeyId") and canonical.get("SqsManagedSseEnabled") == "true":
        raise SqsError(
            errors.INVALID_ATTRIBUTE_NAME,
            "You can use one type of server-side encryption (SSE) at one time. You can either"
            " enable KMS SSE or SQS SSE.",
        )
    return canonical


def merged_attributes(current: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a queue after canonical `changes` were set on it.

    Raises SqsError (InvalidAttributeValue) when they do not go with the others.
    """
    merged = {**current, **changes}
    if changes.get("KmsMasterKeyId"):
        # A customer key takes the place of the key that SQS manages; removing it later does not
        # bring the managed key back.
        merged["SqsManagedSseEnabled"] = "false"
    elif changes.get("SqsManagedSseEnabled") == "true":
        merged["KmsMasterKeyId"] = ""
        merged["KmsDataKeyReusePeriodSeconds"] = changes.get("KmsDataKeyReusePeriodSeconds", "")
    if not changes.keys().isdisjoint({"FifoThroughputLimit", "DeduplicationScope"}) and (
        merged.get("FifoThroughputLimit") == "perMessageGroupId"
        and merged.get("DeduplicationScope") != "messageGroup"
    ):
        raise SqsError(
            errors.INVALID_ATTRIBUTE_VALUE,
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is"
            " messageGroup",
        )
    return {name: value for name, value in merged.items() if value != ""}


def effective_attribute(current: Mapping[str, str], name: str, *, fifo: bool) -> str | None:
    """The value of a settable attribute, its default when nobody set it; None when it has none."""
    attribute = SETTABLE[name]
    if name in current:
        return current[name] or None
    if name == "KmsDataKeyReusePeriodSeconds" and current.get("KmsMasterKeyId"):
        return str(limits.KMS_DATA_KEY_REUSE_SECONDS_DEFAULT)
    return None if attribute.kind is Kind.FIFO and not fifo else attribute.default
