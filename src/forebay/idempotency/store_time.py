"""The time of a store, as a caller whose own clock may be wrong keeps it."""

from __future__ import annotations

from forebay.clock import Clock
from forebay.idempotency.base import IdempotencyStore

#: How old what the store said may become, in milliseconds. Monotonic clocks differ by less than
#: 100 ms in a quarter of an hour.
_AGE_MAX_MS = 60_000

#: A change of wall time against monotonic time, in milliseconds, after which the store is asked
#: anew: the clock was set, or the machine slept, while its monotonic clock stood still.
_STEP_MS = 500

#: The slowest answer, in milliseconds, that is kept: the store's time is known to half of this.
_ANSWER_MAX_MS = 500


class StoreTime:
    """Asks a store for its time, and goes on from there by the monotonic clock.

    So a lease lasts equally long for all that share the store, whatever their wall clocks show, and
    a step of a wall clock neither ends nor prolongs one.
    """

    def __init__(self, store: IdempotencyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: The store's time less the monotonic clock's, when that was found, and the wall clock's
        #: time less the monotonic clock's then.
        self._ahead_ms: int | None = None
        self._asked_ms = 0
        self._wall_ahead_ms = 0

    async def now_ms(self) -> int:
        """The store's time. Raises IdempotencyStoreError when it has to be asked and fails."""
        clock = self._clock
        before_ms = clock.monotonic_ms()
        wall_ahead_ms = clock.wall_ms() - before_ms
        if (
            self._ahead_ms is not None
            and before_ms - self._asked_ms < _AGE_MAX_MS
            and abs(wall_ahead_ms - self._wall_ahead_ms) < _STEP_MS
        ):
            return before_ms + self._ahead_ms
        store_ms = await self._store.time_ms(clock)
        after_ms = clock.monotonic_ms()
        ahead_ms = store_ms - (before_ms + after_ms) // 2
        if after_ms - before_ms <= _ANSWER_MAX_MS:
            self._ahead_ms, self._asked_ms = ahead_ms, before_ms
            self._wall_ahead_ms = wall_ahead_ms
        return after_ms + ahead_ms

    def last_known_ms(self) -> int:
        """The store's time by what it said last, without asking."""
        if self._ahead_ms is None:
            return self._clock.wall_ms()
        return self._clock.monotonic_ms() + self._ahead_ms
