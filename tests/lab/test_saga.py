"""What is wrong with an order of which some actions were performed."""

from __future__ import annotations

import pytest

from forebay.lab.scenarios.saga import WHOLE_OR_UNDONE, what_is_wrong, whole_or_undone

WHOLE = {"charge", "reserve", "book"}
UNDONE = {"charge", "reserve", "refund", "release"}


@pytest.mark.parametrize(
    ("actions", "wrong"),
    [
        (WHOLE, set()),
        (UNDONE, set()),
        ({"charge", "refund"}, set()),
        (set(), {"untouched"}),
        ({"charge"}, {"charged and not refunded"}),
        ({"charge", "reserve"}, {"charged and not refunded", "reserved and not released"}),
        (UNDONE - {"release"}, {"reserved and not released"}),
        (UNDONE - {"refund"}, {"charged and not refunded"}),
        (UNDONE | {"book"}, {"booked and undone"}),
        (WHOLE | {"release"}, {"booked and undone"}),
        (WHOLE - {"charge"}, {"booked and not whole"}),
        ({"refund"}, {"undone and never done"}),
    ],
)
def test_an_order_is_whole_or_undone(actions: set[str], wrong: set[str]) -> None:
    assert what_is_wrong(actions) == wrong


def test_the_verdict_names_the_orders() -> None:
    done = {(action, "a") for action in WHOLE} | {("charge", "b")}
    verdict = whole_or_undone(["a", "b"], done, [])
    assert not verdict.holds
    assert verdict.invariant == WHOLE_OR_UNDONE
    assert verdict.detail == "1 whole of 2; 1 charged and not refunded: b"


@pytest.mark.parametrize("declined", [True, False])
def test_none_but_those_that_were_declined_may_be_undone(declined: bool) -> None:
    done = {(action, "a") for action in UNDONE}
    verdict = whole_or_undone(["a"], done, ["a"] if declined else [])
    assert verdict.holds is declined
    assert ("1 undone and never declined: a" in verdict.detail) is not declined
