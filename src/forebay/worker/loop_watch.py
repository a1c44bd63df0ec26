"""Noticing that the event loop was held up."""

from __future__ import annotations

import asyncio
import logging

from forebay.clock import Clock

_log = logging.getLogger(__name__)

#: Waking later than this means that something held up the loop, in milliseconds.
LATE_MS = 1_000

#: The trouble is over when nothing was late for this long, in milliseconds.
_QUIET_MS = 60_000


class LoopWatch:
    """Sleeps for others, and sees how late it wakes them.

    While a handler blocks the loop nothing else runs: no extension is sent and no message comes in.
    That is said once for each trouble. A clock that somebody sets forward is no trouble, so the
    loop's own time has to say the same.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._late_at_ms: int | None = None
        self._longest_ms = 0

    async def sleep_until(self, due_ms: int) -> None:
        """Sleep until this monotonic time of the clock."""
        loop, asked_ms = asyncio.get_running_loop(), self._clock.monotonic_ms()
        asked_s, duration_s = loop.time(), (due_ms - asked_ms) / 1000
        await self._clock.sleep(duration_s)
        now_ms = self._clock.monotonic_ms()
        late_ms = min(now_ms - due_ms, round((loop.time() - asked_s - duration_s) * 1000))
        if late_ms > LATE_MS:
            self._woke_late(late_ms, now_ms)

    def _woke_late(self, late_ms: int, now_ms: int) -> None:
        if self._is_quiet(now_ms):
            self._longest_ms = 0
            _log.warning(
                "The event loop was held up for %.1f s: a handler blocks it. Meanwhile no lease is"
                " extended. Let the handler await, or make it a plain function, which runs in a"
                " thread.",
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
