"""A clock that a test puts forward."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from forebay.clock import SystemClock
from forebay.errors import SettingsError


class VirtualClock:
    """The machine's clock, until a test puts it forward.

    It runs on in between, so that a long poll on an empty queue ends as it always does.
    """

    def __init__(self, moved: Callable[[], None]) -> None:
        self._machine = SystemClock()
        self._ahead_ms = 0
        self._moved = moved

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Put the broker's clock forward.

        When this returns, all that fell due has happened: visibility timeouts and delays have
        ended, and what was kept for too long is gone. Raises SettingsError when the time is
        negative.
        """
        __tracebackhide__ = True
        duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if duration < timedelta():
            raise SettingsError(f"A clock cannot be put back; {duration} is below 0.")
        self._ahead_ms += duration // timedelta(milliseconds=1)
        self._moved()

    def wall_ms(self) -> int:
        return self._machine.wall_ms() + self._ahead_ms

    def monotonic_ms(self) -> int:
        return self._machine.monotonic_ms() + self._ahead_ms

    async def sleep(self, duration_s: float) -> None:
        await self._machine.sleep(duration_s)
