"""Whether a lease that was alive was taken over, by what workers wrote down of it."""

from __future__ import annotations

import pytest

from forebay.lab.events import Event, Kind
from forebay.lab.ledger import Ledger
from forebay.lab.scenarios.clock_skew import WrongClock, fenced, live_leases_kept
from forebay.scaled_clock import ScaledClock

BEGUN, EXTENDED, GIVEN_BACK = "lease begun", "lease extended", "lease given back"
COMPLETED = "completed"


def notes(*said: tuple[int, str, str, int]) -> Ledger:
    """When, who, what, and until when."""
    events = [
        Event(at_ms=at_ms, kind=Kind.NOTE, process=process, subject="k", text=text, value=until_ms)
        for at_ms, process, text, until_ms in said
    ]
    return Ledger(events, [], now_ms=100_000)


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ([(0, "a", BEGUN, 10_000), (10_000, "b", BEGUN, 20_000)], True),
        ([(0, "a", BEGUN, 10_000), (5_000, "b", BEGUN, 15_000)], False),
        ([(0, "a", BEGUN, 10_000), (5_000, "a", BEGUN, 15_000)], True),
        (
            [
                (0, "a", BEGUN, 10_000),
                (3_000, "a", EXTENDED, 13_000),
                (12_000, "b", BEGUN, 22_000),
            ],
            False,
        ),
        (
            [
                (0, "a", BEGUN, 10_000),
                (3_000, "a", GIVEN_BACK, 0),
                (4_000, "b", BEGUN, 14_000),
            ],
            True,
        ),
        (
            [
                (0, "a", BEGUN, 10_000),
                (11_000, "b", BEGUN, 21_000),
                (12_000, "a", GIVEN_BACK, 0),
                (13_000, "c", BEGUN, 23_000),
            ],
            False,
        ),
    ],
)
def test_a_lease_is_taken_over_when_it_is_over(
    said: list[tuple[int, str, str, int]], holds: bool
) -> None:
    verdict = live_leases_kept(notes(*said))
    assert verdict.holds is holds
    assert ("took k over from" in verdict.detail) is not holds


@pytest.mark.parametrize(("completes", "holds"), [("b", True), ("a", False)])
def test_who_was_taken_over_completes_nothing(completes: str, holds: bool) -> None:
    begun = [(0, "a", BEGUN, 10_000), (10_000, "b", BEGUN, 20_000)]
    assert fenced(notes(*begun, (12_000, completes, COMPLETED, 0))).holds is holds


def test_a_wrong_clock_is_wrong_by_what_it_is_told_and_passes_at_the_right_speed() -> None:
    right = ScaledClock(10)
    ahead = WrongClock(right, 3_600, steps=False)
    assert abs(ahead.wall_ms() - right.wall_ms() - 3_600_000) < 1_000
    assert abs(ahead.monotonic_ms() - right.monotonic_ms()) < 1_000
