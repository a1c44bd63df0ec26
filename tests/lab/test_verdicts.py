"""What the verdicts that scenarios share say, where the scenarios themselves do not show it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from forebay.apps.verdicts import Verdict
from forebay.lab.events import Event, Kind
from forebay.lab.ledger import Ledger
from forebay.lab.verdicts import none_failed, rising
from tests.lab.made_up import EVENTS, event


@pytest.mark.parametrize(
    ("applied", "expected"),
    [
        ([], Verdict("order", True, "0 applied: ")),
        ([1, 2, 5], Verdict("order", True, "3 applied: 1, 2, 5")),
        ([1, 3, 2, 1], Verdict("order", False, "version 2 was applied after version 3")),
        # Once more is no rise.
        ([1, 1], Verdict("order", False, "version 1 was applied after version 1")),
    ],
)
def test_what_rises_is_told_with_its_numbers(applied: Sequence[int], expected: Verdict) -> None:
    assert rising("order", "version", applied) == expected


def test_of_many_numbers_the_first_are_told() -> None:
    assert rising("order", "version", range(1, 22)).detail.endswith("19, 20, …")
    assert rising("order", "version", range(1, 21)).detail.endswith("19, 20")


@pytest.mark.parametrize(
    ("told", "holds"),
    [
        ([event(1, Kind.ENDED, "lab", subject="worker-1", value=0)], True),
        ([event(1, Kind.ENDED, "lab", subject="worker-1", value=1)], False),
        # It was told to stop, and did not heed it; it was told before it could.
        (
            [
                event(1, Kind.STARTED, "worker-1"),
                event(2, Kind.ENDED, "lab", subject="worker-1", value=-15),
            ],
            False,
        ),
        ([event(1, Kind.ENDED, "lab", subject="worker-1", value=-15)], True),
        # By somebody else than the run.
        ([event(1, Kind.ENDED, "lab", subject="worker-1", value=-9)], False),
        ([*EVENTS], True),
        (
            [
                event(1, Kind.FAULT, "worker-1", id="a", text="CRASH_RATE"),
                event(2, Kind.ENDED, "lab", subject="worker-1", value=70),
            ],
            True,
        ),
    ],
)
def test_a_process_that_ends_with_an_error_breaks_a_run_unless_it_was_to(
    told: Sequence[Event], holds: bool
) -> None:
    assert none_failed(Ledger(told, [], now_ms=0)).holds is holds
