"""What the buyers plan to do, and how they keep at it."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.apps.sale.catalogue import divide_seats
from forebay.apps.sale.domain import BUG_MARKER, SectionKind
from forebay.apps.sale.load import Purchase, plan_purchases
from forebay.apps.sale.requests import PurchaseRequest


def plan(buyers: int = 1_000, seed: int = 7) -> list[Purchase]:
    return plan_purchases(divide_seats(500, 10), buyers=buyers, apis=2, seed=seed)


def wishes(purchases: list[Purchase]) -> list[PurchaseRequest]:
    return [msgspec.json.decode(purchase.body, type=PurchaseRequest) for purchase in purchases]


@given(seats=st.integers(1, 500), sections=st.integers(1, 50))
def test_every_seat_is_in_a_section_and_sections_are_about_equal(seats: int, sections: int) -> None:
    capacities = [section.capacity for section in divide_seats(seats, sections)]
    assert sum(capacities) == seats
    assert max(capacities) - min(capacities) <= 1


def test_the_same_seed_makes_the_same_buyers() -> None:
    assert plan(seed=1) == plan(seed=1)
    assert plan(seed=1) != plan(seed=2)


def test_every_buyer_has_a_key_and_comes_in_turn() -> None:
    purchases = plan()
    assert len({purchase.key for purchase in purchases}) == 1_000
    assert len({wish.buyer for wish in wishes(purchases)}) == 1_000
    times_s = [purchase.at_s for purchase in purchases]
    assert times_s == sorted(times_s)


def test_some_click_twice_at_either_api() -> None:
    clicks = Counter(len(purchase.clicks) for purchase in plan())
    assert set(clicks) == {1, 2}
    assert 50 < clicks[2] < 200
    assert {api for purchase in plan() for api in purchase.clicks} == {0, 1}


def test_some_orders_are_poison() -> None:
    sections = {section.name: section for section in divide_seats(500, 10)}
    impossible = [
        wish
        for wish in wishes(plan())
        if wish.seat is not None
        and (
            sections[wish.section].kind is SectionKind.GENERAL
            or wish.seat > sections[wish.section].capacity
        )
    ]
    assert len(impossible) == 5
    assert sum(wish.note == BUG_MARKER for wish in wishes(plan())) == 1


@pytest.mark.parametrize(("buyers", "rush_s"), [(10, 3.0), (50_000, 30.0)])
def test_the_rush_is_that_of_the_incident_but_never_too_short(buyers: int, rush_s: float) -> None:
    assert plan(buyers)[-1].at_s == pytest.approx(rush_s, rel=0.35)
    assert plan(buyers)[-1].at_s <= rush_s
