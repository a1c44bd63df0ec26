"""What the stores in SQL databases have in common: all but how a transaction is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

from forebay.clock import Clock
from forebay.idempotency import statements
from forebay.idempotency.base import Beginning, KeyRecord
from forebay.idempotency.records import MessageStatus, SideEffect
from forebay.idempotency.statements import Tokens
from forebay.sql.steps import Steps

T = TypeVar("T")


class SqlIdempotencyStore(ABC):
    """Keys, messages, effects and versions in a database."""

    _tokens: ClassVar[Tokens]

    @abstractmethod
    async def time_ms(self, clock: Clock) -> int: ...

    async def begin(
        self, keys: tuple[str, ...], lease_ms: int, now_ms: int, digest: bytes | None = None
    ) -> Beginning:
        return await self._run(
            lambda: statements.begin(keys, lease_ms, now_ms, digest, self._tokens)
        )

    async def extend(self, keys: tuple[str, ...], token: int, lease_ms: int, now_ms: int) -> bool:
        return await self._run(lambda: statements.extend(keys, token, lease_ms, now_ms))

    async def complete(
        self, keys: tuple[str, ...], token: int, result: bytes | None, now_ms: int
    ) -> bool:
        return await self._run(lambda: statements.complete(keys, token, result, now_ms))

    async def abandon(
        self, keys: tuple[str, ...], token: int, now_ms: int, error: str | None = None
    ) -> bool:
        return await self._run(lambda: statements.abandon(keys, token, now_ms, error))

    async def find(self, key: str) -> KeyRecord | None:
        return await self._look(lambda: statements.find(key))

    async def start_message(
        self, message_id: str, now_ms: int, digest: bytes | None = None
    ) -> MessageStatus:
        return await self._run(lambda: statements.start_message(message_id, now_ms, digest))

    async def complete_message(self, message_id: str, now_ms: int) -> bool:
        return await self._run(lambda: statements.complete_message(message_id, now_ms))

    async def fail_message(self, message_id: str, reason: str, now_ms: int) -> bool:
        return await self._run(lambda: statements.fail_message(message_id, reason, now_ms))

    async def find_message(self, message_id: str) -> MessageStatus | None:
        return await self._look(lambda: statements.find_message(message_id))

    async def record_effect(self, key: str, effect: SideEffect) -> bool:
        return await self._run(lambda: statements.record_effect(key, effect))

    async def find_effect(self, key: str) -> SideEffect | None:
        return await self._look(lambda: statements.find_effect(key))

    async def begin_version(self, entity: str, version: int, now_ms: int) -> bool:
        return await self._run(lambda: statements.begin_version(entity, version, now_ms))

    async def finish_version(self, entity: str, version: int, now_ms: int) -> bool:
        return await self._run(lambda: statements.finish_version(entity, version, now_ms))

    async def newest_version(self, entity: str) -> int | None:
        return await self._look(lambda: statements.newest_version(entity))

    async def purge(self, retention_ms: int, now_ms: int, limit: int) -> int:
        return await self._run(lambda: statements.purge(retention_ms, now_ms, limit))

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _run(self, steps: Callable[[], Steps[T]]) -> T:
        """Run the steps in a transaction of their own, anew from the beginning if need be.

        Undone is an answer. Raises IdempotencyStoreError when the database fails.
        """

    async def _look(self, steps: Callable[[], Steps[T]]) -> T:
        """As _run, for steps that only read."""
        return await self._run(steps)
