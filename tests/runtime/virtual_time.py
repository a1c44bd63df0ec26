"""An event loop whose time passes at once: sleeping costs nothing and everything is repeatable."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Where virtual time starts, in seconds: small, so that a float holds each nanosecond.
START_S = 1_000.0


class _InstantSelector(selectors.DefaultSelector):
    """Moves the clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Everything waits and nothing will ever happen.")
            self.now_s += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _InstantSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s

    def block(self, duration_s: float) -> None:
        """Let time pass while nothing runs, as a handler does that never awaits."""
        self._virtual.now_s += duration_s


def block(duration_s: float) -> None:
    """Hold up the running loop for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.block(duration_s)


class LoopClock:
    """The time of the running loop as a Clock."""

    def wall_ms(self) -> int:
        return self.monotonic_ms()

    def monotonic_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1000)

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
