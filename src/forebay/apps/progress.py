"""Showing how far a demo has come: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from forebay.clock import Clock, SystemClock

#: Time between two lines of progress where there is no terminal, in milliseconds.
_LINE_MS = 1_000


class Count(Struct, frozen=True):
    """How many of something there are, of how many there will be as far as is known."""

    name: str
    done: int
    total: int


class Audience(Protocol):
    """Who watches a demo."""

    def say(self, text: str) -> None:
        """Something happened."""
        ...

    def show(self, counts: Sequence[Count], *, at: str = "") -> None:
        """How far the demo has come: the same counts each time, in the same order.

        `at` is the time of a demo whose time is not the machine's.
        """
        ...


class BarAudience:
    """Draws a bar for each count that grows. Use it as a context manager."""

    def __init__(
        self, console: Console, *, transient: bool = False, own_time: bool = False
    ) -> None:
        """`transient` bars are gone when they end; with `own_time` they show the `at` of counts."""
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:>9,.0f}"),
            TextColumn("{task.fields[at]}") if own_time else TimeElapsedColumn(),
            console=console,
            transient=transient,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        self._bars.console.print(text, markup=False)

    def show(self, counts: Sequence[Count], *, at: str = "") -> None:
        for count in counts:
            if count.name not in self._tasks:
                self._tasks[count.name] = self._bars.add_task(count.name, at="")
            self._bars.update(
                self._tasks[count.name], completed=count.done, total=count.total, at=at
            )


class LineAudience:
    """Prints a line now and then, for logs and pipes."""

    def __init__(self, console: Console, *, clock: Clock | None = None) -> None:
        self._console = console
        self._clock = clock or SystemClock()
        self._last_ms: int | None = None

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)

    def show(self, counts: Sequence[Count], *, at: str = "") -> None:
        now_ms = self._clock.monotonic_ms()
        if self._last_ms is not None and now_ms - self._last_ms < _LINE_MS:
            return
        self._last_ms = now_ms
        counted = ", ".join(f"{count.name} {count.done:,}" for count in counts)
        self._console.print(f"{at}  {counted}" if at else counted, soft_wrap=True)
