"""When a dead process is started again, and what its death is called."""

from __future__ import annotations

import pytest

from forebay.supervisor.restarts import death, deaths_in_a_row, pause_s


@pytest.mark.parametrize(
    ("in_a_row", "expected_s"),
    [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (10_000, 30)],
)
def test_pauses_double_up_to_half_a_minute(in_a_row: int, expected_s: float) -> None:
    assert pause_s(in_a_row) == expected_s


@pytest.mark.parametrize(
    ("before", "lived_s", "expected"),
    [(0, 0.1, 1), (3, 59.9, 4), (3, 60.0, 1), (0, 3_600.0, 1)],
)
def test_one_that_lived_for_a_minute_was_well(before: int, lived_s: float, expected: int) -> None:
    assert deaths_in_a_row(before, lived_s) == expected


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (0, "exit code 0"),
        (7, "exit code 7"),
        (-11, "SIGSEGV"),
        (-15, "SIGTERM"),
        (-9, "SIGKILL, as the kernel does when memory is short"),
        (-99, "signal 99"),
    ],
)
def test_a_death_is_called_by_its_name(exit_code: int, expected: str) -> None:
    assert death(exit_code) == expected
