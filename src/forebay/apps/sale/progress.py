"""Showing how far the demo has come: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from forebay.apps.sale.readback import Progress
from forebay.clock import Clock, SystemClock

#: Time between two lines of progress where there is no terminal, in milliseconds.
_LINE_MS = 1_000


class BarAudience:
    """Draws a bar for each count that grows. Use it as a context manager."""

    def __init__(self, console: Console, buyers: int) -> None:
        self._buyers = buyers
        self._bars = Bars(
            TextColumn("{task.description:>9}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:>9,.0f}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._accepted = self._bars.add_task("accepted", total=buyers)
        self._decided = self._bars.add_task("decided", total=buyers)
        self._notified = self._bars.add_task("notified", total=buyers)
        self._logged = self._bars.add_task("logged", total=buyers)

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
        self._bars.console.print(text)

    def show(self, progress: Progress) -> None:
        decidable = self._buyers - progress.failed
        self._bars.update(self._accepted, completed=progress.accepted)
        self._bars.update(self._decided, completed=progress.decided, total=decidable)
        self._bars.update(self._notified, completed=progress.notified, total=decidable)
        # How many calls the buyers will make is not known before they have made them.
        self._bars.update(
            self._logged,
            completed=progress.logged,
            total=max(progress.logged, self._buyers),
        )


class LineAudience:
    """Prints a line now and then, for logs and pipes."""

    def __init__(self, console: Console, *, clock: Clock | None = None) -> None:
        self._console = console
        self._clock = clock or SystemClock()
        self._last_ms: int | None = None

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def show(self, progress: Progress) -> None:
        now_ms = self._clock.monotonic_ms()
        if self._last_ms is not None and now_ms - self._last_ms < _LINE_MS:
            return
        self._last_ms = now_ms
        self._console.print(
            f"accepted {progress.accepted:,}, decided {progress.decided:,},"
            f" notified {progress.notified:,}, logged {progress.logged:,}",
            soft_wrap=True,
        )
