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

#: How often the store is asked in a row while its answers take longer than `_ANSWER_MS`
#: milliseconds: its time is known to half of the quickest. The first may have to connect.
_ASKS_MAX, _ANSWER_MS = 3, 20


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
        now_ms = self._clock.monotonic_ms()
        wall_ahead_ms = self._clock.wall_ms() - now_ms
        if (
            self._ahead_ms is not None
            and now_ms - self._asked_ms < _AGE_MAX_MS
            and abs(wall_ahead_ms - self._wall_ahead_ms) < _STEP_MS
        ):
            return now_ms + self._ahead_ms
        self._ahead_ms = ahead_ms = await self._ask()
        self._asked_ms, self._wall_ahead_ms = now_ms, wall_ahead_ms
        return self._clock.monotonic_ms() + ahead_ms

    def last_known_ms(self) -> int:
        """The store's time by what it said last, without asking."""
        if self._ahead_ms is None:
            return self._clock.wall_ms()
        return self._clock.monotonic_ms() + self._ahead_ms

    async def _ask(self) -> int:
        """How far the store's time is ahead of the monotonic clock's, by its quickest answer."""
        answers: list[tuple[int, int]] = []
        while not answers or (len(answers) < _ASKS_MAX and min(answers)[0] > _ANSWER_MS):
            before_ms = self._clock.monotonic_ms()
            store_ms = await self._store.time_ms(self._clock)
            after_ms = self._clock.monotonic_ms()
            answers.append((after_ms - before_ms, store_ms - (before_ms + after_ms) // 2))
        return min(answers)[1]
