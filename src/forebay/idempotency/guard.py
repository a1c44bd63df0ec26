"""Doing a side effect once, however often its message comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from urllib.parse import quote

from msgspec import Struct

from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError
from forebay.idempotency.base import Done, IdempotencyStore, IdempotencyStoreError, InProgress

_log = logging.getLogger(__name__)

#: How long a lease lasts unless it is extended, in milliseconds: what others wait for when the
#: process that holds it dies.
LEASE_MS = 30_000

#: A lease is extended this many times before it would be over, so that one try may fail.
_EXTENSIONS_PER_LEASE = 3


class LeaseLost(ForebayError):
    """The effect ran, but somebody else has taken its key over; its result was not stored."""


class Performed(Struct, frozen=True):
    """The effect ran now and is recorded."""

    result: bytes | None


class AlreadyDone(Struct, frozen=True):
    """The effect ran before, with this result."""

    result: bytes | None


class Elsewhere(Struct, frozen=True):
    """Somebody else is at it. In a handler: `raise Retry(outcome.remaining_s)`."""

    remaining_s: float


Outcome: TypeAlias = Performed | AlreadyDone | Elsewhere


class Attempt(Struct):
    """What an effect knows of its own run.

    An effect in a database of ours commits in a transaction that completes this key and token. An
    effect elsewhere cannot be fenced: pass the key on as the other system's idempotency key, and
    look at `lease_lost` before a step that takes long.
    """

    key: str
    token: int
    lease_lost: bool = False


Effect: TypeAlias = Callable[[Attempt], Awaitable[bytes | None]]


def delivery_key(identifier: str) -> str:
    """The key of one message: its envelope's id, or its MessageId without an envelope."""
    return f"delivery/{identifier}"


def business_key(message_type: str, key: str) -> str:
    """The key of one thing done for one business fact.

    The type of the message is a part of it, so that charging an order and refunding it are two.
    """
    return f"business/{quote(message_type, safe='')}/{key}"


class Guard:
    """Runs effects under a lease of their key that lasts as long as they do."""

    def __init__(
        self, store: IdempotencyStore, *, clock: Clock | None = None, lease_ms: int = LEASE_MS
    ) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self._lease_ms = lease_ms

    async def run(self, key: str, effect: Effect) -> Outcome:
        """Run the effect unless it has been run, or is running, for this key.

        What it returns is stored, and given to later callers. When it raises or is cancelled, the
        key is free again and the error goes on. Raises LeaseLost when somebody else began the key
        while the effect ran, and IdempotencyStoreError: after the effect, that means that it ran
        and may run again.
        """
        now_ms = self._clock.wall_ms()
        beginning = await self._store.begin(key, self._lease_ms, now_ms)
        if isinstance(beginning, Done):
            return AlreadyDone(beginning.result)
        if isinstance(beginning, InProgress):
            return Elsewhere((beginning.until_ms - now_ms) / 1000)
        attempt = Attempt(key, beginning.token)
        result = await self._perform(attempt, effect)
        completed_ms = self._clock.wall_ms()
        if not await self._store.complete(key, attempt.token, result, completed_ms):
            raise LeaseLost(
                f"The effect of {key!r} ran, but somebody else has taken its key over; its result"
                " was not stored."
            )
        return Performed(result)

    async def purge(self, retention_ms: int, limit: int = 1_000) -> int:
        """Forget at most `limit` keys that ended at least `retention_ms` ago; how many it were.

        Keep them for longer than a message can come again: the retention of its queue and of the
        dead-letter queue together.
        """
        return await self._store.purge(retention_ms, self._clock.wall_ms(), limit)

    async def _perform(self, attempt: Attempt, effect: Effect) -> bytes | None:
        extending = asyncio.ensure_future(self._keep_extending(attempt))
        try:
            return await effect(attempt)
        except BaseException:
            await self._abandon(attempt)
            raise
        finally:
            extending.cancel()

    async def _keep_extending(self, attempt: Attempt) -> None:
        while not attempt.lease_lost:
            await self._clock.sleep(self._lease_ms / _EXTENSIONS_PER_LEASE / 1000)
            now_ms = self._clock.wall_ms()
            try:
                extended = await self._store.extend(
                    attempt.key, attempt.token, self._lease_ms, now_ms
                )
            except IdempotencyStoreError as error:
                _log.warning("The lease of %r was not extended: %s", attempt.key, error)
            else:
                attempt.lease_lost = not extended

    async def _abandon(self, attempt: Attempt) -> None:
        try:
            await self._store.abandon(attempt.key, attempt.token)
        except IdempotencyStoreError as error:
            # The effect's own error matters more, and the lease ends by itself.
            _log.warning("The lease of %r was not given back: %s", attempt.key, error)
