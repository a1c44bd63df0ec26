"""Noticing that the event loop was held up."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)

#: Waking later than this means that something held up the loop, in milliseconds.
LATE_MS = 1_000

#: The trouble is over when nothing was late for this long, in milliseconds.
_QUIET_MS = 60_000


class LoopWatch:
    """Hears from those who sleep when they meant to wake and when they did.

    While a handler blocks the loop nothing else runs: no extension is sent and no message comes in.
    That is said once for each trouble.
    """

    def __init__(self) -> None:
        self._late_at_ms: int | None = None
        self._longest_ms = 0

    def woke(self, due_ms: int, now_ms: int) -> None:
        """Somebody meant to wake at `due_ms` and does so now."""
        late_ms = now_ms - due_ms
        if late_ms <= LATE_MS:
            return
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

    def blocked_s(self, now_ms: int) -> float:
        """The longest time that the loop was held up lately, in seconds."""
        return 0.0 if self._is_quiet(now_ms) else self._longest_ms / 1000

    def _is_quiet(self, now_ms: int) -> bool:
        return self._late_at_ms is None or now_ms - self._late_at_ms > _QUIET_MS
