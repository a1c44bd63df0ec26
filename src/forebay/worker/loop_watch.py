"""Noticing that the event loop was held up."""

from __future__ import annotations

import asyncio
import logging

from forebay.clock import Clock

_log = logging.getLogger(__name__)

#: Waking later than this means that something held up the loop, in milliseconds.
LATE_MS = 1_000

#: Longest sleep at a time, in milliseconds, so that it shows soon.
_LOOK_MS = 1_000

#: The trouble is over when nothing was late for this long, in milliseconds.
_QUIET_MS = 60_000

#: How long the loop takes at most to work off what has waited for it, in seconds.
_CATCH_UP_S = 0.25


class LoopWatch:
    """Sleeps for others, and sees how late it wakes them.

    While a handler blocks the loop nothing else runs: no extension is sent and no answer is read.
    That is said once for each trouble. A clock that somebody sets forward is no trouble, so the
    loop's own time has to say the same.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._late_at_ms: int | None = None
        self._longest_ms = 0
        #: When anybody who sleeps here ran last, by the clock and by the loop.
        self._ran_ms = 0
        self._ran_s: float | None = None
        #: Since when the loop was held up the last time, by the clock, and until when, by the loop.
        self._held_since_ms = 0
        self._held_until_s = float("-inf")

    async def sleep_until(self, due_ms: int) -> None:
        """Sleep until this monotonic time of the clock."""
        loop = asyncio.get_running_loop()
        now_ms = self._clock.monotonic_ms()
        while now_ms < due_ms:
            self._ran_ms, self._ran_s = asked_ms, asked_s = now_ms, loop.time()
            wake_ms = min(due_ms, now_ms + _LOOK_MS)
            await self._clock.sleep((wake_ms - now_ms) / 1000)
            now_ms = self._clock.monotonic_ms()
            took_ms = round((loop.time() - asked_s) * 1000)
            late_ms = min(now_ms - wake_ms, took_ms - (wake_ms - asked_ms))
            if late_ms > LATE_MS:
                self._held_since_ms, self._held_until_s = asked_ms, loop.time()
                self._woke_late(late_ms, now_ms)

    def held_since_ms(self) -> int | None:
        """Since when what is read now may have waited to be read, by the clock.

        None when the loop has not been held up just now, or nobody sleeps here.
        """
        if self._ran_s is None:
            return None
        now_s = asyncio.get_running_loop().time()
        if now_s - self._ran_s > (_LOOK_MS + LATE_MS) / 1000:
            return self._ran_ms
        return self._held_since_ms if now_s - self._held_until_s < _CATCH_UP_S else None

    def _woke_late(self, late_ms: int, now_ms: int) -> None:
        if self._is_quiet(now_ms):
            self._longest_ms = 0
            _log.warning(
                "The event loop was held up for more than %.1f s: a handler blocks it. Meanwhile no"
                " lease is extended. Let the handler await, or make it a plain function, which runs"
                " in a thread.",
                late_ms / 1000,
            )
        self._late_at_ms = now_ms
        self._longest_ms = max(self._longest_ms, late_ms)

    @property
    def blocked_s(self) -> float:
        """The longest time that the loop was held up lately, in seconds."""
        return 0.0 if self._is_quiet(self._clock.monotonic_ms()) else self._longest_ms / 1000

    def _is_quiet(self, now_ms: int) -> bool:
        return self._late_at_ms is None or now_ms - self._late_at_ms > _QUIET_MS
