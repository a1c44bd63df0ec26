"""Records of messages, of effects outside our database, and of the versions of entities.

The stores of keys keep these too, with the same promises of atomicity and errors: see
IdempotencyStore. Every read sees what was written before it began, by whichever process.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class Status(StrEnum):
    """How far a message has come."""

    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class MessageStatus(Struct, frozen=True):
    """Our own bookkeeping of a message: the table `message_status`."""

    status: Status
    #: How often the message was started: once for each receive.
    attempts: int
    last_updated_ms: int
    payload_digest: bytes | None = None
    #: Why it failed last. None once it is completed.
    error_reason: str | None = None


class SideEffect(Struct, frozen=True):
    """An effect that was performed outside: the table `message_side_effects`."""

    performed_at_ms: int
    payload_digest: bytes | None
    #: The message whose handling performed it, which with a business key may be another.
    original_message_id: str
    result: bytes | None = None


class MessageRecords(Protocol):
    """What became of each message. COMPLETED is final."""

    async def start_message(
        self, message_id: str, now_ms: int, digest: bytes | None = None
    ) -> MessageStatus:
        """Count an attempt, make the message STARTED unless it is COMPLETED, and return that.

        Raises PayloadDiffers when the message came with another digest before.
        """
        ...

    async def complete_message(self, message_id: str, now_ms: int) -> bool:
        """Make a started message COMPLETED. False when there is none of this id."""
        ...

    async def fail_message(self, message_id: str, reason: str, now_ms: int) -> bool:
        """Make a started message FAILED. False when it is COMPLETED or there is none."""
        ...

    async def find_message(self, message_id: str) -> MessageStatus | None:
        """What became of a message."""
        ...


class SideEffects(Protocol):
    """Which effects were performed outside, each recorded once."""

    async def record_effect(self, key: str, effect: SideEffect) -> bool:
        """Record an effect unless one of this key is there; whether it was recorded.

        Raises PayloadDiffers when the one that is there has another digest.
        """
        ...

    async def find_effect(self, key: str) -> SideEffect | None:
        """The effect of a key."""
        ...


class EntityVersions(Protocol):
    """Which version of each entity is the newest. A version is a whole number of 64 bits."""

    async def begin_version(self, entity: str, version: int, now_ms: int) -> bool:
        """Note that a version is about to be applied. False when it or a newer one was before.

        A newer one that was begun counts, whether it was applied or not: its message comes again.
        """
        ...

    async def finish_version(self, entity: str, version: int, now_ms: int) -> bool:
        """Note that the version was applied. False when a newer one was begun in the meantime."""
        ...

    async def newest_version(self, entity: str) -> int | None:
        """The newest version that was applied."""
        ...
