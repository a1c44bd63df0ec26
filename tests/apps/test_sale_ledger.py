"""Each invariant holds in a sale that went well and is broken by the fault it is there for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.apps.sale.domain import Outcome, Section, SectionKind
from forebay.apps.sale.ledger import (
    INVARIANTS,
    AcceptedOrder,
    HeldSeat,
    LoggedDecision,
    SaleFacts,
    api_inversions,
    balance,
    busiest_second,
    inversions,
    judge,
    percentile,
)
from forebay.apps.sale.queues import ORDERS
from forebay.apps.usage.accounts import UsageAccount

STALLS = Section("gala", "stalls", SectionKind.RESERVED, capacity=2)
LAWN = Section("gala", "lawn", SectionKind.GENERAL, capacity=1)


def accepted(number: int, section: str = "stalls", acceptances: int = 1) -> AcceptedOrder:
    return AcceptedOrder(
        order_id=f"o{number}",
        event="gala",
        section=section,
        buyer=f"buyer-{number}",
        arrived_at_ms=1000 + number,
        arrival_number=number,
        acceptances=acceptances,
    )


def decision(
    number: int,
    outcome: Outcome,
    section: str = "stalls",
    seat: int | None = None,
    asked_seat: int | None = None,
    decided: int | None = None,
) -> LoggedDecision:
    return LoggedDecision(
        decision_number=decided or number,
        order_id=f"o{number}",
        event="gala",
        section=section,
        outcome=outcome,
        sequence_number=number,
        decided_at_ms=2000 + 100 * number,
        asked_seat=asked_seat,
        seat=seat,
    )


#: Six accepted orders: two get a seat and one is too late; of the lawn's two one is too late; the
#: sixth is poison.
WELL = SaleFacts(
    sections=[STALLS, LAWN],
    sold={("gala", "stalls"): 2, ("gala", "lawn"): 1},
    held_seats=[HeldSeat("gala", "stalls", 1, "o1"), HeldSeat("gala", "stalls", 2, "o2")],
    accepted=[
        accepted(1),
        accepted(2, acceptances=3),
        accepted(3),
        accepted(4, "lawn"),
        accepted(5, "lawn"),
        accepted(6),
    ],
    decisions=[
        decision(1, Outcome.CONFIRMED, seat=1),
        decision(2, Outcome.CONFIRMED, seat=2),
        decision(3, Outcome.SOLD_OUT),
        decision(4, Outcome.CONFIRMED, "lawn"),
        decision(5, Outcome.SOLD_OUT, "lawn"),
    ],
    dead_letters=["o6"],
    notified=["o1", "o2", "o3", "o4", "o5"],
    usage=UsageAccount(delivered=8, dropped=1),
    usage_stored=8,
    left_in_queues={ORDERS: 0, "usage-logs": 0},
    accept_us=[1000, 2000, 3000, 4000],
)

replace = msgspec.structs.replace


def _without(facts: SaleFacts, order_id: str) -> SaleFacts:
    return replace(
        facts,
        decisions=[line for line in facts.decisions if line.order_id != order_id],
        dead_letters=[order for order in facts.dead_letters if order != order_id],
    )


def _oversold_seat(facts: SaleFacts) -> SaleFacts:
    twice = replace(facts.decisions[2], outcome=Outcome.CONFIRMED, seat=2)
    return replace(facts, decisions=[*facts.decisions[:2], twice, *facts.decisions[3:]])


def _oversold_lawn(facts: SaleFacts) -> SaleFacts:
    surplus = replace(facts.decisions[4], outcome=Outcome.CONFIRMED)
    return replace(facts, decisions=[*facts.decisions[:4], surplus])


def _inverted(facts: SaleFacts) -> SaleFacts:
    """The order that came third in its section got the seat of the second."""
    first, second, third = facts.decisions[:3]
    return replace(
        facts,
        decisions=[
            first,
            replace(third, outcome=Outcome.CONFIRMED, seat=2),
            replace(second, outcome=Outcome.SOLD_OUT, seat=None),
            *facts.decisions[3:],
        ],
    )


def _unsold(facts: SaleFacts) -> SaleFacts:
    gave_up = replace(facts.decisions[1], outcome=Outcome.SOLD_OUT, seat=None)
    return replace(facts, decisions=[facts.decisions[0], gave_up, *facts.decisions[2:]])


MUTATIONS: list[tuple[str, str, Callable[[SaleFacts], SaleFacts]]] = [
    (
        "every accepted order is decided or dead-lettered",
        "an order that is still queued",
        lambda facts: replace(_without(facts, "o3"), left_in_queues={ORDERS: 1}),
    ),
    (
        "every accepted order is decided or dead-lettered",
        "an order that is decided and dead-lettered",
        lambda facts: replace(facts, dead_letters=["o6", "o1"]),
    ),
    (
        "no order is decided twice",
        "a second line in the decision log",
        lambda facts: replace(
            facts, decisions=[*facts.decisions, replace(facts.decisions[2], decision_number=9)]
        ),
    ),
    ("no place is sold twice", "a seat sold twice", _oversold_seat),
    ("no place is sold twice", "a lawn sold beyond its capacity", _oversold_lawn),
    (
        "the places taken are the places confirmed",
        "a seat held by another than was told",
        lambda facts: replace(
            facts, held_seats=[facts.held_seats[0], HeldSeat("gala", "stalls", 2, "o3")]
        ),
    ),
    (
        "the places taken are the places confirmed",
        "a counter that counts too much",
        lambda facts: replace(facts, sold=facts.sold | {("gala", "lawn"): 2}),
    ),
    ("sold = capacity where demand exceeds it", "a seat that nobody got", _unsold),
    ("first come, first served inside each section", "a later order that got the seat", _inverted),
    ("nothing accepted is lost", "an order that is nowhere", lambda facts: _without(facts, "o3")),
    (
        "nothing accepted is lost",
        "a dead letter that is nowhere",
        lambda facts: _without(facts, "o6"),
    ),
    (
        "one notification for each decided order",
        "a buyer who hears nothing",
        lambda facts: replace(facts, notified=facts.notified[1:]),
    ),
    (
        "one notification for each decided order",
        "a buyer who hears twice",
        lambda facts: replace(facts, notified=[*facts.notified, "o1"]),
    ),
    (
        "one notification for each decided order",
        "a buyer who hears of no decision",
        lambda facts: replace(facts, notified=[*facts.notified, "o6"]),
    ),
    (
        "usage logs written = accepted by the producer",
        "a log that was not stored",
        lambda facts: replace(facts, usage_stored=7),
    ),
    (
        "usage logs written = accepted by the producer",
        "a log that the producer gave up",
        lambda facts: replace(facts, usage=UsageAccount(delivered=8, failed=1)),
    ),
    (
        "usage logs written = accepted by the producer",
        "a log that was stored twice",
        lambda facts: replace(facts, usage_stored=9),
    ),
    (
        "the queues are empty",
        "a message that nobody took",
        lambda facts: replace(facts, left_in_queues={ORDERS: 0, "usage-logs": 1}),
    ),
]


def test_every_invariant_holds_in_a_sale_that_went_well() -> None:
    assert [verdict for verdict in judge(WELL) if not verdict.holds] == []


@pytest.mark.parametrize(
    ("invariant", "mutate"),
    [pytest.param(name, mutate, id=fault) for name, fault, mutate in MUTATIONS],
)
def test_an_invariant_is_broken_by(
    invariant: str, mutate: Callable[[SaleFacts], SaleFacts]
) -> None:
    verdicts = {verdict.invariant: verdict for verdict in judge(mutate(WELL))}
    assert not verdicts[invariant].holds
    assert verdicts[invariant].detail


def test_there_is_a_fault_for_every_invariant() -> None:
    assert {invariant for invariant, _, _ in MUTATIONS} == set(INVARIANTS)


def test_the_ledger_adds_up_what_was_read_back() -> None:
    ledger = balance(WELL)
    assert ledger.buyers == 6
    assert ledger.accepted == 6
    assert ledger.duplicates_collapsed == 2
    assert ledger.confirmed == 3
    assert ledger.sold_out == 2
    assert ledger.dead_lettered == 1
    assert ledger.notified == 5
    assert (ledger.usage_sent, ledger.usage_stored, ledger.usage_dropped) == (8, 8, 1)
    assert ledger.orders_per_second == pytest.approx(5 / 0.4)
    assert ledger.busiest_second == 5
    assert (ledger.accept_p50_ms, ledger.accept_p99_ms) == (2.0, 4.0)
    assert (ledger.undecided, ledger.oversold, ledger.double_decided) == (0, 0, 0)
    assert (ledger.inversions, ledger.lost) == (0, 0)


def test_a_queued_order_is_undecided_but_not_lost() -> None:
    ledger = balance(replace(_without(WELL, "o3"), left_in_queues={ORDERS: 1}))
    assert (ledger.undecided, ledger.lost) == (1, 0)


@pytest.mark.parametrize(
    ("asked", "seat_of_later", "overtaken"),
    [
        pytest.param(None, 2, ["o1"], id="any seat would have done, a later order got one"),
        pytest.param(2, 2, ["o1"], id="a later order got the very seat"),
        pytest.param(1, 2, [], id="a later order got another seat than the one asked for"),
    ],
)
def test_an_inversion_is_a_later_order_with_a_place_one_would_have_taken(
    asked: int | None, seat_of_later: int, overtaken: list[str]
) -> None:
    facts = replace(
        WELL,
        decisions=[
            decision(1, Outcome.SOLD_OUT, asked_seat=asked),
            decision(2, Outcome.CONFIRMED, seat=seat_of_later),
        ],
    )
    assert inversions(facts) == overtaken


def test_an_earlier_order_with_the_place_is_no_inversion() -> None:
    facts = replace(
        WELL,
        decisions=[
            decision(1, Outcome.CONFIRMED, seat=1),
            decision(2, Outcome.SOLD_OUT, asked_seat=1),
        ],
    )
    assert inversions(facts) == []


@given(st.permutations([1, 2, 3, 4, 5]))
def test_api_inversions_are_the_orders_that_somebody_later_overtook(sequence: list[int]) -> None:
    facts = replace(
        WELL,
        accepted=[accepted(number) for number in range(1, 6)],
        decisions=[
            replace(decision(number, Outcome.SOLD_OUT), sequence_number=place)
            for number, place in zip(range(1, 6), sequence, strict=True)
        ],
    )
    overtaken = sum(
        any(later < place for later in sequence[index + 1 :])
        for index, place in enumerate(sequence)
    )
    assert api_inversions(facts) == overtaken


@pytest.mark.parametrize(
    ("decided_at_ms", "busiest"),
    [
        ([], 0),
        ([5_000], 1),
        ([0, 999, 1_000, 1_001], 3),
        ([0, 1_000, 2_000], 1),
        ([0, 5_000, 5_001, 5_002], 3),
    ],
)
def test_the_busiest_second_begins_with_any_decision(
    decided_at_ms: list[int], busiest: int
) -> None:
    line = WELL.decisions[0]
    facts = replace(
        WELL, decisions=[replace(line, decided_at_ms=time_ms) for time_ms in decided_at_ms]
    )
    assert busiest_second(facts) == busiest


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, 0),
        ([7], 99, 7),
        ([3, 1, 2], 50, 2),
        ([4, 3, 2, 1], 50, 2),
        ([*range(200)], 99, 197),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(
    values: list[int], percent: int, expected: int
) -> None:
    assert percentile(values, percent) == expected
