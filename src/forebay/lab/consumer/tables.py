"""The two tables of document 001: our bookkeeping of messages, and the record of side effects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from forebay.idempotency import (
    IdempotencyStore,
    MessageRecords,
    MessageStatus,
    SideEffect,
    SideEffects,
    SqliteIdempotencyStore,
    Status,
)
from forebay.idempotency.versions import VersionStore
from forebay.lab.consumer.settings import ConsumerSettings


class Tables(Struct, frozen=True, kw_only=True):
    """What a consumer remembers, as far as it is told to.

    Without a table of statuses each message is one that was never seen; without one of effects none
    was ever done.
    """

    status: MessageRecords | None = None
    effects: SideEffects | None = None
    #: Where effects are leased while they are done; None when nothing is shared with others.
    keys: IdempotencyStore | None = None
    #: Where the versions of entities are.
    versions: VersionStore | None = None

    async def start(self, message_id: str, now_ms: int, digest: bytes | None) -> MessageStatus:
        """Count an attempt. Raises PayloadDiffers."""
        if self.status is None:
            return MessageStatus(Status.STARTED, 1, now_ms, digest)
        return await self.status.start_message(message_id, now_ms, digest)

    async def complete(self, message_id: str, now_ms: int) -> None:
        if self.status is not None:
            await self.status.complete_message(message_id, now_ms)

    async def fail(self, message_id: str, reason: str, now_ms: int) -> None:
        if self.status is not None:
            await self.status.fail_message(message_id, reason, now_ms)


@asynccontextmanager
async def open_tables(settings: ConsumerSettings) -> AsyncIterator[Tables]:
    """Open what the settings name; two tables in one file share it. Raises StoreError.

    What was written outlives the process, and not a loss of power: the files stand for a service
    elsewhere, and an experiment kills processes only.
    """
    opened: dict[Path, SqliteIdempotencyStore] = {}
    async with AsyncExitStack() as stack:

        async def store(path: Path | None) -> SqliteIdempotencyStore | None:
            if path is None:
                return None
            if path not in opened:
                opened[path] = await SqliteIdempotencyStore.open(path, durable=False)
                stack.push_async_callback(opened[path].close)
            return opened[path]

        status, effects = await store(settings.status_path), await store(settings.effects_path)
        versions = await store(settings.versions_path)
        yield Tables(status=status, effects=effects, keys=effects or status, versions=versions)


class Begun:
    """The tables as CheckBeforeDoing sees them for one message.

    Its status is written by whoever handles the message, for all that a consumer does. `recorded`
    is called once the effect is recorded, before anything else is.
    """

    def __init__(
        self, effects: SideEffects | None, status: MessageStatus, recorded: Callable[[], None]
    ) -> None:
        self._effects = effects
        self._status = status
        self._recorded = recorded

    async def start_message(
        self,
        message_id: str,  # noqa: ARG002 - as in the others, it is the protocol's
        now_ms: int,  # noqa: ARG002
        digest: bytes | None = None,  # noqa: ARG002
    ) -> MessageStatus:
        return self._status

    async def complete_message(self, message_id: str, now_ms: int) -> bool:  # noqa: ARG002
        return True

    async def fail_message(self, message_id: str, reason: str, now_ms: int) -> bool:  # noqa: ARG002
        return True

    async def find_message(self, message_id: str) -> MessageStatus | None:  # noqa: ARG002
        return self._status

    async def find_effect(self, key: str) -> SideEffect | None:
        return None if self._effects is None else await self._effects.find_effect(key)

    async def record_effect(self, key: str, effect: SideEffect) -> bool:
        recorded = self._effects is None or await self._effects.record_effect(key, effect)
        self._recorded()
        return recorded
