from __future__ import annotations

import io

from rich.console import Console

from forebay.apps.progress import BarAudience, Count, LineAudience
from forebay.clock import ManualClock


def test_without_a_terminal_progress_is_a_line_a_second() -> None:
    page, clock = io.StringIO(), ManualClock()
    audience = LineAudience(Console(file=page, width=200), clock=clock)
    for accepted in range(0, 1000, 100):
        audience.show([Count("accepted", 10 * accepted, 10_000), Count("decided", 7, 10_000)])
        clock.advance(250)
    audience.say("Killed the broker")
    assert page.getvalue().splitlines() == [
        "accepted 0, decided 7",
        "accepted 4,000, decided 7",
        "accepted 8,000, decided 7",
        "Killed the broker",
    ]


def test_a_terminal_has_a_bar_for_each_count() -> None:
    page = io.StringIO()
    with BarAudience(Console(file=page, width=100, force_terminal=True)) as audience:
        audience.show([Count("accepted", 1_234, 2_000), Count("decided", 7, 2_000)])
        audience.say("Killed the broker")
    shown = page.getvalue()
    for text in ("accepted", "1,234", "decided", "Killed the broker"):
        assert text in shown


def test_bars_of_a_demo_with_a_time_of_its_own_show_that_time() -> None:
    page = io.StringIO()
    console = Console(file=page, width=100, force_terminal=True)
    with BarAudience(console, own_time=True) as audience:
        audience.show([Count("sent", 1, 2)], at="12.5 s")
    assert "12.5 s" in page.getvalue()
    assert "0:00:00" not in page.getvalue()
