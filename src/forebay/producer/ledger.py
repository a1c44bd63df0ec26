"""The producer's account of every message it was offered."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class DropReason(StrEnum):
    """Why a message was not accepted."""

    #: The buffer was full.
    FULL = "full"
    #: The message is larger than SQS takes.
    TOO_LARGE = "too_large"
    #: The producer was closed.
    CLOSED = "closed"
    #: The payload cannot be written as JSON, or the type or the key is empty.
    UNENCODABLE = "unencodable"
    #: A group or deduplication id that the queue would refuse, or a FIFO message without a group.
    INVALID = "invalid"


class ProducerLedger(Struct, frozen=True, kw_only=True):
    """What became of the messages, at one instant.

    Always `offered == sent + sum(dropped.values()) + failed + buffered`.
    """

    #: Every call of `send` and `publish`.
    offered: int
    #: Acknowledged by SQS.
    sent: int
    #: Never accepted, by DropReason.
    dropped: dict[str, int]
    #: Accepted but not known to be in SQS: SQS refused them, or they were left when the producer
    #: was closed. Of the latter those whose call was under way may have arrived.
    failed: int
    #: Accepted and not settled yet, waiting or under way.
    buffered: int
