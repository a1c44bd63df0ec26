"""Holding keys while their effect runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Protocol, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from forebay.clock import Clock
from forebay.errors import ForebayError, with_type
from forebay.idempotency.base import Done, IdempotencyStore, IdempotencyStoreError, InProgress
from forebay.idempotency.store_time import StoreTime

T = TypeVar("T")

_log = logging.getLogger(__name__)

#: How long a lease lasts unless it is extended, in milliseconds: what others wait for when the
#: process that holds it dies. Two extensions may fail or be late before it is over, so an event
#: loop may stand still for two thirds of it.
LEASE_MS = 10_000

#: The longest lease, in milliseconds: what others wait for when an effect that has run for long
#: dies.
LEASE_MAX_MS = 60_000

#: How long a duplicate waits in place for the effect that runs, in milliseconds. Most effects take
#: less, and to wait costs a place in the worker but no receive.
WAIT_MS = 500

#: A lease is extended this many times before it would be over, so that one try may fail.
_EXTENSIONS_PER_LEASE = 3

#: A lease grows with the time that its effect has run: to this part of it. Who finds an effect that
#: has run for minutes then comes back after seconds, and not many times.
_LEASE_PART_OF_RUN = 4

#: Bounds of the pause between two looks at a key that somebody else holds, in milliseconds.
_LOOK_MS, _LOOK_MAX_MS = 5, 100


#: When a key that is done is free for others.
_FOREVER_MS = 2**63


class LeaseLost(ForebayError):
    """The effect ran, but somebody else has taken its key over; its result was not stored."""


class Delivery(Protocol):
    """What a message knows of its own lease, as `Received` does."""

    @property
    def lease_lost(self) -> bool: ...


class Elsewhere(Struct, frozen=True):
    """Somebody else is at it. In a handler: `raise Retry(outcome.remaining_s)`."""

    remaining_s: float


class Attempt:
    """What an effect knows of its own run.

    An effect in a database of ours commits in a transaction that completes this attempt: see
    `complete_in`. An effect elsewhere cannot be fenced: pass `key` on as the other system's
    idempotency key, and look at `lease_lost` before a step that takes long.
    """

    def __init__(
        self,
        keys: tuple[str, ...],
        token: int,
        *,
        clock: Clock,
        time: StoreTime,
        until_ms: int,
        number: int = 1,
        delivery: Delivery | None = None,
    ) -> None:
        self.keys = keys
        #: Rises with each attempt of the key: an outside system that keeps the highest it has seen
        #: can refuse the lower.
        self.token = token
        #: Which attempt this is, from 1.
        self.number = number
        self.clock = clock
        #: The time that the lease goes by in the store.
        self.time = time
        #: Set when `complete_in` completed the keys, in a transaction that may yet fail.
        self.completed_inside = False
        self._until_ms = until_ms
        self._taken_over = False
        self._delivery = delivery

    @property
    def key(self) -> str:
        """The key of the business fact, or that of the delivery where no other is known."""
        return self.keys[-1]

    @property
    def message_lost(self) -> bool:
        """Whether the lease of the message was lost, so that its next delivery may be under way."""
        return self._delivery is not None and self._delivery.lease_lost

    @property
    def lease_lost(self) -> bool:
        """Whether somebody else may have begun the effect too.

        That is when the lease of the key was taken over or has ended, or that of the message was
        lost.
        """
        ended = self.clock.monotonic_ms() >= self._until_ms
        return self._taken_over or self.message_lost or ended

    def extended(self, until_ms: int) -> None:
        """`until_ms` is a time of the monotonic clock."""
        self._until_ms = max(self._until_ms, until_ms)

    def taken_over(self) -> None:
        self._taken_over = True


#: What is done once: an async function, or a plain one that does not block for long. What it
#: returns is stored and given to duplicates: bytes and None as they are, anything else as JSON.
Effect: TypeAlias = Callable[[Attempt], object]


async def result_of(effect: Effect, attempt: Attempt) -> bytes | None:
    """Run an effect, and return its result as it is stored.

    By then the effect has happened, so a result that cannot be stored is left away and must not
    let it happen again.
    """
    result = effect(attempt)
    if isawaitable(result):
        result = await result
    try:
        return stored(result)
    except (TypeError, ValueError) as error:
        _log.error("The effect of %r is done; its result is not stored: %s", attempt.key, error)
        return None


def stored(result: object) -> bytes | None:
    """A result as stores keep it. Raises TypeError or ValueError when it is no JSON."""
    return result if result is None or isinstance(result, bytes) else msgspec.json.encode(result)


class Leases(Struct, frozen=True):
    """How keys are held."""

    store: IdempotencyStore
    clock: Clock
    time: StoreTime
    lease_ms: int
    wait_ms: int

    async def begin(
        self,
        keys: tuple[str, ...],
        digest: bytes | None = None,
        delivery: Delivery | None = None,
    ) -> Attempt | Done | Elsewhere:
        """Begin the keys, waiting in place for a while when somebody else holds one."""
        waited_until_ms = self.clock.monotonic_ms() + self.wait_ms
        pause_ms = _LOOK_MS
        while True:
            now_ms = await self.time.now_ms()
            asked_ms = self.clock.monotonic_ms()
            beginning = await self.store.begin(keys, self.lease_ms, now_ms, digest)
            if isinstance(beginning, Done):
                return beginning
            if not isinstance(beginning, InProgress):
                return Attempt(
                    keys,
                    beginning.token,
                    clock=self.clock,
                    time=self.time,
                    until_ms=asked_ms + self.lease_ms,
                    number=beginning.attempts,
                    delivery=delivery,
                )
            left_ms = waited_until_ms - self.clock.monotonic_ms()
            if left_ms <= 0:
                return Elsewhere(max(0, beginning.until_ms - await self.time.now_ms()) / 1000)
            await self.clock.sleep(min(pause_ms, left_ms) / 1000)
            pause_ms = min(pause_ms * 2, _LOOK_MAX_MS)

    async def perform(self, attempt: Attempt, effect: Callable[[Attempt], Awaitable[T]]) -> T:
        """Run the effect and extend the lease meanwhile. The keys are free again if it raises."""
        extending = asyncio.ensure_future(self._keep_extending(attempt))
        try:
            try:
                return await effect(attempt)
            finally:
                extending.cancel()
                await asyncio.wait([extending])
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            await self.abandon(attempt, None if cancelled else describe(error))
            raise

    async def abandon(self, attempt: Attempt, error: str | None = None) -> None:
        """Give the keys back, or let their lease end by itself when the store fails."""
        try:
            now_ms = self.time.last_known_ms()
            await self.store.abandon(attempt.keys, attempt.token, now_ms, error)
        except IdempotencyStoreError as trouble:
            _log.warning("The lease of %r was not given back: %s", attempt.key, trouble)

    async def _keep_extending(self, attempt: Attempt) -> None:
        began_ms = self.clock.monotonic_ms()
        lease_ms = self.lease_ms
        while True:
            await self.clock.sleep(lease_ms / _EXTENSIONS_PER_LEASE / 1000)
            if attempt.message_lost:
                _log.warning(
                    "The message of %r was lost while its effect runs; its key is held no longer.",
                    attempt.key,
                )
                return
            run_ms = self.clock.monotonic_ms() - began_ms
            grown_ms = max(self.lease_ms, min(run_ms // _LEASE_PART_OF_RUN, LEASE_MAX_MS))
            try:
                now_ms = await self.time.now_ms()
                asked_ms = self.clock.monotonic_ms()
                extended = await self.store.extend(attempt.keys, attempt.token, grown_ms, now_ms)
            except IdempotencyStoreError as error:
                _log.warning("The lease of %r was not extended: %s", attempt.key, error)
                continue
            if not extended:
                if attempt.completed_inside:
                    attempt.extended(_FOREVER_MS)
                else:
                    attempt.taken_over()
                return
            lease_ms = grown_ms
            attempt.extended(asked_ms + lease_ms)


def describe(error: BaseException) -> str:
    """An error as the records keep it: its type and its words, cut to 500 characters."""
    return with_type(error)[:500]
