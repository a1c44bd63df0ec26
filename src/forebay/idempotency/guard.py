"""Doing a side effect once, however often its message comes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError
from forebay.idempotency.base import Done, IdempotencyStore, KeyState
from forebay.idempotency.holding import (
    LEASE_MS,
    WAIT_MS,
    Attempt,
    Delivery,
    Effect,
    Elsewhere,
    LeaseLost,
    Leases,
    result_of,
)
from forebay.idempotency.keys import keys_of, payload_digest, wire_payload, without
from forebay.idempotency.store_time import StoreTime
from forebay.worker.outcomes import Retry
from forebay.worker.received import Received

T = TypeVar("T")


class NotCommitted(ForebayError):
    """The effect completed its key in a transaction, but the transaction was not committed."""


class _Outcome(Struct, frozen=True):
    result: bytes | None

    def read(self, as_type: type[T]) -> T:
        """The result, which is JSON, as a type. Raises msgspec.MsgspecError when it is not."""
        return msgspec.json.decode(self.result or b"null", type=as_type)


class Performed(_Outcome, frozen=True):
    """The effect ran now and is recorded."""


class AlreadyDone(_Outcome, frozen=True):
    """The effect ran before, with this result."""


Outcome: TypeAlias = Performed | AlreadyDone | Elsewhere


class Guard:
    """Runs effects under a lease of their keys that lasts as long as they do.

    A duplicate that comes while the effect runs waits in place for up to `wait_ms` milliseconds. A
    lease lasts `lease_ms` and is extended while its effect runs, so that is about what a duplicate
    waits for when the process that holds it dies.
    """

    def __init__(
        self,
        store: IdempotencyStore,
        *,
        clock: Clock | None = None,
        lease_ms: int = LEASE_MS,
        wait_ms: int = WAIT_MS,
    ) -> None:
        self.store = store
        self.clock = clock or SystemClock()
        #: The store's time, by which everything in it is dated.
        self.time = StoreTime(store, self.clock)
        self._leases = Leases(store, self.clock, self.time, lease_ms, wait_ms)

    async def once(
        self,
        received: Received[Any],
        effect: Effect,
        *,
        by: Sequence[str] = (),
        action: str | None = None,
        ignore: Sequence[str] = (),
    ) -> Performed | AlreadyDone:
        """Run the effect of a message unless it was run for the message or its business fact.

        The business fact is what the payload says in the fields `by`, or the envelope's key, for
        this `action`, or type of message. The fields `ignore` may differ between two messages of
        one fact. When the message's lease is lost, the attempt shows it and its keys are held no
        longer.

        Raises what a worker knows: Retry while somebody else is at it, with what is left of their
        lease; KeyFieldMissing; PayloadDiffers for a payload that is not the one of the keys.
        Otherwise as `run`.
        """
        payload = wire_payload(received)
        outcome = await self.run(
            keys_of(received, payload, by, action),
            effect,
            digest=payload_digest(without(payload, ignore)),
            delivery=received,
        )
        if isinstance(outcome, Elsewhere):
            raise Retry(outcome.remaining_s)
        return outcome

    async def run(
        self,
        key: str | tuple[str, ...],
        effect: Effect,
        *,
        digest: bytes | None = None,
        delivery: Delivery | None = None,
    ) -> Outcome:
        """Run the effect unless it has been run, or is running, for this key or one of these.

        What it returns is stored, and given to later callers. When it raises or is cancelled, the
        keys are free again and the error goes on. Raises PayloadDiffers when a key came with
        another digest before; LeaseLost when somebody else began a key while the effect ran;
        NotCommitted; and IdempotencyStoreError: after the effect, that means that it ran and may
        run again.
        """
        keys = (key,) if isinstance(key, str) else key
        beginning = await self._leases.begin(keys, digest, delivery)
        if isinstance(beginning, Done):
            return AlreadyDone(beginning.result)
        if isinstance(beginning, Elsewhere):
            return beginning
        result = await self._leases.perform(beginning, partial(result_of, effect))
        if beginning.completed_inside:
            return Performed(await self._committed_result(beginning))
        completed_ms = self.time.last_known_ms()
        if not await self.store.complete(keys, beginning.token, result, completed_ms):
            raise LeaseLost(
                f"The effect of {beginning.key!r} ran, but somebody else has taken its key over;"
                " its result was not stored."
            )
        return Performed(result)

    async def purge(self, retention_ms: int, limit: int = 1_000) -> int:
        """Forget at most `limit` records that ended at least `retention_ms` ago; how many it were.

        Keep them for longer than a message can come again: the retention of its queue and of the
        dead-letter queue together.
        """
        return await self.store.purge(retention_ms, await self.time.now_ms(), limit)

    async def _committed_result(self, attempt: Attempt) -> bytes | None:
        """What the effect stored in its own transaction."""
        record = await self.store.find(attempt.key)
        if (
            record is None
            or record.token != attempt.token
            or record.state is not KeyState.COMPLETED
        ):
            await self._leases.abandon(attempt, "the transaction was not committed")
            raise NotCommitted(
                f"The effect of {attempt.key!r} completed its key in a transaction that was not"
                " committed. Return from the effect after the commit."
            )
        return record.result
