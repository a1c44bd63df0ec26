"""Applying only what is newer, where a standard queue delivers in any order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from typing import Protocol, TypeAlias

from msgspec import Struct

from forebay.clock import Clock, SystemClock
from forebay.idempotency.base import Done, IdempotencyStore
from forebay.idempotency.holding import (
    LEASE_MS,
    WAIT_MS,
    Attempt,
    Delivery,
    Elsewhere,
    LeaseLost,
    Leases,
)
from forebay.idempotency.records import EntityVersions
from forebay.idempotency.store_time import StoreTime
from forebay.worker.outcomes import Reject

#: What can be compared: a whole number, a time with a zone, or such a time in ISO 8601.
Version: TypeAlias = int | datetime | str

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class VersionError(Reject):
    """A version cannot be compared with others. A worker rejects its message."""


class Applied(Struct, frozen=True):
    """The version was newer, and was applied."""


class Stale(Struct, frozen=True):
    """The version, or a newer one, came before. Nothing was done; the message is done with."""


class VersionStore(IdempotencyStore, EntityVersions, Protocol):
    """Keeps keys and versions; every store of ours does."""


#: Applies a version outside our database: an async function, or a plain one that does not block for
#: long. `attempt.lease_lost` tells when to stop.
Apply: TypeAlias = Callable[[Attempt], object]


def version_number(version: Version) -> int:
    """A version as a whole number: itself, or the microseconds of a time since 1970.

    A text is a time in ISO 8601. An entity's versions must all be of one kind. Raises VersionError
    for a time without a zone, for another text, and for a number of more than 64 bits.
    """
    moment = version
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise VersionError(
                f"The version {str(version)[:40]!r} is no time in ISO 8601; give a whole number"
                " or a time as 2026-11-22T08:26:00Z."
            ) from error
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise VersionError(
                f"The version {moment.isoformat()} has no time zone, so that it cannot be"
                " compared; add one, as in 2026-11-22T08:26:00Z."
            )
        return (moment - _EPOCH) // timedelta(microseconds=1)
    if isinstance(moment, bool) or not isinstance(moment, int):
        raise VersionError(
            f"The version is a {type(moment).__name__}; it must be a whole number or a time."
        )
    if not -(2**63) <= moment < 2**63:
        raise VersionError(f"The version {moment} has more than 64 bits.")
    return moment


class Versions:
    """Applies only newer versions of each entity, one at a time, whoever receives them.

    Where the state is in our own SQLite or PostgreSQL database, `advance_in` is simpler: there the
    version and the state commit together. This is for state elsewhere. There a version may be
    applied again after a crash, but never over a newer one: a version that was begun makes all
    older ones stale, since its message comes again.
    """

    def __init__(
        self,
        store: VersionStore,
        *,
        clock: Clock | None = None,
        lease_ms: int = LEASE_MS,
        wait_ms: int = WAIT_MS,
    ) -> None:
        self._store = store
        clock = clock or SystemClock()
        self._time = StoreTime(store, clock)
        self._leases = Leases(store, clock, self._time, lease_ms, wait_ms)

    async def apply_if_newer(
        self,
        entity: str,
        version: Version,
        apply: Apply,
        *,
        delivery: Delivery | None = None,
    ) -> Applied | Stale | Elsewhere:
        """Apply the version unless it or a newer one was applied or begun.

        Nobody else applies one of this entity meanwhile; when somebody does so already, this waits
        in place for a while and then says Elsewhere. When `apply` raises, the error goes on and
        the version may be tried again. Raises VersionError, LeaseLost when somebody took over
        while it ran, and IdempotencyStoreError.
        """
        number = version_number(version)
        beginning = await self._leases.begin((f"entity/{entity}",), delivery=delivery)
        if isinstance(beginning, Elsewhere):
            return beginning
        if isinstance(beginning, Done):
            raise VersionError(f"The key entity/{entity} is in use for something else.")

        async def in_turn(attempt: Attempt) -> Applied | Stale:
            if not await self._store.begin_version(entity, number, self._time.last_known_ms()):
                return Stale()
            applied = apply(attempt)
            if isawaitable(applied):
                await applied
            if not await self._store.finish_version(entity, number, self._time.last_known_ms()):
                raise LeaseLost(
                    f"Version {version} of {entity!r} was applied, but a newer one was begun"
                    " meanwhile."
                )
            return Applied()

        outcome = await self._leases.perform(beginning, in_turn)
        await self._leases.abandon(beginning)
        return outcome
