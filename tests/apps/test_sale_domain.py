from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.apps.sale.domain import (
    SOLD_OUT,
    Availability,
    Decision,
    Order,
    OrderRefused,
    Outcome,
    Section,
    SectionKind,
    decide,
    fingerprint,
    message_group,
    order_id,
)

STALLS = Section("gala", "stalls", SectionKind.RESERVED, capacity=40)
LAWN = Section("gala", "lawn", SectionKind.GENERAL, capacity=40)


def order(section: Section, seat: int | None = None, buyer: str = "ada") -> Order:
    return Order(
        order_id=f"order-of-{buyer}",
        event=section.event,
        section=section.name,
        buyer=buyer,
        seat=seat,
    )


def confirmed(seat: int | None = None) -> Decision:
    return Decision(Outcome.CONFIRMED, seat)


@pytest.mark.parametrize(
    ("asked", "availability", "decision"),
    [
        pytest.param(None, Availability(40, best_seat=1), confirmed(1), id="the best seat"),
        pytest.param(None, Availability(2, best_seat=17), confirmed(17), id="the best of the rest"),
        pytest.param(None, Availability(0), SOLD_OUT, id="nothing left"),
        pytest.param(9, Availability(3, asked_seat_free=True), confirmed(9), id="the seat asked"),
        pytest.param(9, Availability(3), SOLD_OUT, id="the seat asked is gone, others are not"),
        pytest.param(40, Availability(1, asked_seat_free=True), confirmed(40), id="the last seat"),
    ],
)
def test_a_reserved_section_gives_a_seat_or_is_sold_out(
    asked: int | None, availability: Availability, decision: Decision
) -> None:
    assert decide(order(STALLS, asked), STALLS, availability, None) == decision


@pytest.mark.parametrize(("free", "decision"), [(40, confirmed()), (1, confirmed()), (0, SOLD_OUT)])
def test_general_admission_gives_a_place_without_a_number(free: int, decision: Decision) -> None:
    assert decide(order(LAWN), LAWN, Availability(free), None) == decision


@pytest.mark.parametrize(
    ("refused", "section", "reason"),
    [
        (order(STALLS), None, "no section 'stalls'"),
        (order(STALLS, 41), STALLS, "seats 1 to 40, not 41"),
        (order(STALLS, 0), STALLS, "seats 1 to 40, not 0"),
        (order(LAWN, 3), LAWN, "places have no numbers"),
    ],
)
def test_what_no_retry_can_mend_is_refused(
    refused: Order, section: Section | None, reason: str
) -> None:
    with pytest.raises(OrderRefused, match=reason):
        decide(refused, section, Availability(free=40, best_seat=1), None)


@given(
    earlier=st.builds(Decision, st.sampled_from(Outcome), st.none() | st.integers(1, 40)),
    availability=st.builds(
        Availability, st.integers(0, 40), st.none() | st.integers(1, 40), st.booleans()
    ),
    section=st.sampled_from([STALLS, LAWN, None]),
    seat=st.none() | st.integers(-1, 50),
)
def test_a_redelivery_gets_the_earlier_answer_whatever_has_changed(
    earlier: Decision, availability: Availability, section: Section | None, seat: int | None
) -> None:
    assert decide(order(STALLS, seat), section, availability, earlier) is earlier


@given(asked=st.lists(st.none() | st.integers(1, 8), max_size=30))
def test_orders_decided_one_after_another_never_share_a_seat(asked: list[int | None]) -> None:
    section = Section("gala", "box", SectionKind.RESERVED, capacity=8)
    free = set(range(1, 9))
    for number, seat in enumerate(asked):
        availability = Availability(
            free=len(free), best_seat=min(free, default=None), asked_seat_free=seat in free
        )
        decision = decide(order(section, seat, f"buyer-{number}"), section, availability, None)
        if decision.outcome is Outcome.CONFIRMED:
            assert decision.seat is not None
            assert seat in {None, decision.seat}
            free.remove(decision.seat)
        else:
            assert seat not in free if seat is not None else not free


def test_every_click_with_one_key_makes_the_same_order() -> None:
    assert order_id("gala", "click-7") == order_id("gala", "click-7")
    assert order_id("gala", "click-7") != order_id("gala", "click-8")
    assert order_id("gala", "click-7") != order_id("fair", "click-7")


def test_a_fingerprint_changes_with_everything_the_buyer_wishes() -> None:
    wish = Order("id", "gala", "stalls", "ada", seat=7, note="aisle")
    others = [
        Order("id", "fair", "stalls", "ada", seat=7, note="aisle"),
        Order("id", "gala", "lawn", "ada", seat=7, note="aisle"),
        Order("id", "gala", "stalls", "bob", seat=7, note="aisle"),
        Order("id", "gala", "stalls", "ada", seat=8, note="aisle"),
        Order("id", "gala", "stalls", "ada", seat=7, note="window"),
    ]
    assert fingerprint(wish) not in {fingerprint(other) for other in others}
    assert fingerprint(wish) == fingerprint(Order("id", "gala", "stalls", "ada", 7, "aisle"))


def test_orders_of_a_section_are_one_message_group() -> None:
    assert message_group("gala", "stalls") == "gala#stalls"
