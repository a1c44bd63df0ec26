"""The producer's account of every envelope it was offered."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class DropReason(StrEnum):
    """Why an envelope was not accepted, or was given up before it was sent."""

    #: The buffer was full.
    FULL = "full"
    #: The buffer was full, and no room came within the time that `send` may wait.
    BLOCKED = "blocked"
    #: Buffer and spill were full.
    SPILL_FULL = "spill_full"
    #: The spill could not be written.
    SPILL_FAILED = "spill_failed"
    #: The message is larger than SQS takes.
    TOO_LARGE = "too_large"
    #: The producer was closed.
    CLOSED = "closed"
    #: The payload cannot be written as JSON, or the type or the key is empty.
    UNENCODABLE = "unencodable"
    #: A group or deduplication id that the queue would refuse, or a FIFO message without a group.
    INVALID = "invalid"


#: The reasons of a loss that is no drop.
FAILED = "failed"
CORRUPT = "corrupt"


class ProducerLedger(Struct, frozen=True, kw_only=True):
    """What became of the envelopes, at one instant.

    Always `offered == delivered + sum(dropped.values()) + failed + corrupt + buffered + spilled`.
    With a spill directory this is the account of the directory's life, over restarts.
    """

    #: Every call of `send` and `publish`.
    offered: int
    #: Acknowledged by SQS.
    delivered: int
    #: Not accepted, or given up for want of room, by DropReason.
    dropped: dict[str, int]
    #: Accepted but not known to be in SQS: SQS refused them, or they were left when the producer
    #: was closed or killed. Of the latter those whose call was under way may have arrived.
    failed: int
    #: Spilled, and not readable any more when they were to be sent.
    corrupt: int = 0
    #: Accepted and not settled yet, waiting in memory or under way.
    buffered: int
    #: Accepted and waiting on the disk.
    spilled: int = 0

    @property
    def lost(self) -> int:
        """How many were offered and will not arrive, as far as is known."""
        return sum(self.dropped.values()) + self.failed + self.corrupt


class Lost(Struct, kw_only=True):
    """Envelopes that will not arrive: what `on_lost` is told."""

    #: A DropReason, FAILED or CORRUPT.
    reason: str
    events: int
    #: Between which times they were offered, in milliseconds since the Unix epoch.
    first_ms: int
    last_ms: int
    #: What SQS or the disk said, where one of them did.
    error: str = ""

    def add(self, events: int, first_ms: int, last_ms: int, error: str) -> None:
        """These were lost for the same reason."""
        self.events += events
        self.first_ms = min(self.first_ms, first_ms)
        self.last_ms = max(self.last_ms, last_ms)
        if error:
            self.error = error
