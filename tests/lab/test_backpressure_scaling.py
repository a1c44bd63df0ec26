"""When the backpressure scenario adds and removes consumers, and when they have caught up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from forebay.lab.scenarios.backpressure import Look, caught_up, wanted

MOST = 4


@pytest.mark.parametrize(
    ("look", "flooded", "expected"),
    [
        (Look(visible=9, in_flight=1, consumers=1), True, 1),
        (Look(visible=10, in_flight=1, consumers=1), True, 2),
        # One at a look, however deep it is.
        (Look(visible=1_000, in_flight=1, consumers=1), True, 2),
        (Look(visible=1_000, in_flight=4, consumers=4), True, 4),
        # During the flood nobody goes, and an empty queue says nothing yet.
        (Look(visible=0, in_flight=0, consumers=3), True, 3),
        (Look(visible=0, in_flight=0, consumers=3), False, 2),
        (Look(visible=0, in_flight=2, consumers=3), False, 2),
        (Look(visible=0, in_flight=3, consumers=3), False, 3),
        (Look(visible=9, in_flight=3, consumers=3), False, 3),
        # What is left of the flood is worth another consumer as well.
        (Look(visible=10, in_flight=3, consumers=3), False, 4),
        (Look(visible=0, in_flight=0, consumers=1), False, 1),
    ],
)
def test_a_consumer_comes_with_a_deep_queue_and_goes_when_the_flood_is_over(
    look: Look, flooded: bool, expected: int
) -> None:
    assert wanted(look, MOST, flooded=flooded) == expected


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ([20, 9, 9, 9], True),
        ([20, 9, 9], False),
        ([20, 9, 10, 9], False),
        ([20, 9, 10, 9, 0, 5], True),
        # A flood that has not begun is none that is over.
        ([0, 0, 0, 0], False),
        ([], False),
    ],
)
def test_the_consumers_have_caught_up_after_three_calm_looks(
    depths: Sequence[int], expected: bool
) -> None:
    looks = [Look(visible=depth, in_flight=0, consumers=1) for depth in depths]
    assert caught_up(looks) is expected
