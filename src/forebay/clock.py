"""Where time comes from. Everything that needs the time takes a Clock; nothing else reads one."""

from __future__ import annotations

import asyncio
import time
from time import time_ns
from typing import Protocol


class Clock(Protocol):
    """Time as the runtime sees it."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch. May step when the machine's clock is set."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary start. Never steps back."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Let other work run for `duration_s` seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def wall_ms(self) -> int:
        return time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


class ManualClock:
    """A clock that moves only when a test moves it.

    `sleep` returns once `advance` has carried the clock past the sleeper's wake time.
    """

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = start_ms
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def wall_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._now_ms

    async def sleep(self, duration_s: float) -> None:
        wake_ms = self._now_ms + round(duration_s * 1000)
        if wake_ms <= self._now_ms:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((wake_ms, waiter))
        await waiter

    def advance(self, duration_ms: int) -> None:
        """Move the clock forward and wake every sleeper whose time has come, earliest first."""
        self._now_ms += duration_ms
        by_time = sorted(self._sleepers, key=lambda sleeper: sleeper[0])
        due = [entry for entry in by_time if entry[0] <= self._now_ms]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._now_ms]
        for _, waiter in due:
            if not waiter.done():
                waiter.set_result(None)
