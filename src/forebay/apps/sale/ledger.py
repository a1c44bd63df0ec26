"""The sale's accounts: what its stores and queues say, and what must be true of it.

Nothing here comes from the load generator. An invariant is a pure function of the facts: it names
what breaks it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from forebay.apps.sale.domain import Outcome, Section, SectionKind
from forebay.apps.sale.queues import ORDERS
from forebay.apps.usage.accounts import UsageAccount
from forebay.apps.verdicts import Verdict

#: A section's place in the facts: event and section name.
SectionKey = tuple[str, str]


class AcceptedOrder(Struct, frozen=True):
    """An order that the API promised to have decided."""

    order_id: str
    event: str
    section: str
    buyer: str
    arrived_at_ms: int
    #: Rises with every new order in all API processes together.
    arrival_number: int
    #: How many requests were told that this order is accepted.
    acceptances: int


class LoggedDecision(Struct, frozen=True):
    """A line of the decision log."""

    decision_number: int
    order_id: str
    event: str
    section: str
    outcome: Outcome
    sequence_number: int
    decided_at_ms: int
    asked_seat: int | None = None
    seat: int | None = None
    #: Places of the section that nobody had when the decision was made.
    free: int = 0


class HeldSeat(Struct, frozen=True):
    """A seat that somebody has."""

    event: str
    section: str
    seat: int
    order_id: str


class SaleFacts(Struct, frozen=True, kw_only=True):
    """Everything that was read back."""

    sections: Sequence[Section]
    #: Places sold by each section's own counter.
    sold: dict[SectionKey, int]
    held_seats: Sequence[HeldSeat]
    accepted: Sequence[AcceptedOrder]
    #: In the order of their numbers.
    decisions: Sequence[LoggedDecision]
    #: The order id of each message in the orders' dead-letter queue.
    dead_letters: Sequence[str]
    #: The order id of each notification that went out.
    notified: Sequence[str]
    usage: UsageAccount
    usage_stored: int
    #: Messages in each queue that must be empty at the end: visible, in flight or delayed.
    left_in_queues: dict[str, int]
    #: What the API measured of each purchase it accepted, in microseconds.
    accept_us: Sequence[int]


class SaleLedger(Struct, frozen=True, kw_only=True):
    """The sale in numbers."""

    buyers: int
    accepted: int
    duplicates_collapsed: int
    confirmed: int
    sold_out: int
    dead_lettered: int
    undecided: int
    oversold: int
    double_decided: int
    inversions: int
    api_inversions: int
    lost: int
    notified: int
    usage_sent: int
    usage_stored: int
    usage_dropped: int
    orders_per_second: float
    busiest_second: int
    accept_p50_ms: float
    accept_p99_ms: float


def balance(facts: SaleFacts) -> SaleLedger:
    """The numbers that the facts add up to."""
    outcomes = Counter(decision.outcome for decision in facts.decisions)
    usage = facts.usage
    return SaleLedger(
        buyers=len({order.buyer for order in facts.accepted}),
        accepted=len(facts.accepted),
        duplicates_collapsed=sum(order.acceptances - 1 for order in facts.accepted),
        confirmed=outcomes[Outcome.CONFIRMED],
        sold_out=outcomes[Outcome.SOLD_OUT],
        dead_lettered=len(set(facts.dead_letters)),
        undecided=len(undecided(facts)),
        oversold=len(oversold(facts)),
        double_decided=len(double_decided(facts)),
        inversions=len(inversions(facts)),
        api_inversions=api_inversions(facts),
        lost=max(0, len(undecided(facts)) - facts.left_in_queues.get(ORDERS, 0)),
        notified=len(facts.notified),
        usage_sent=usage.delivered + usage.failed,
        usage_stored=facts.usage_stored,
        usage_dropped=usage.dropped,
        orders_per_second=orders_per_second(facts),
        busiest_second=busiest_second(facts),
        accept_p50_ms=percentile(facts.accept_us, 50) / 1000,
        accept_p99_ms=percentile(facts.accept_us, 99) / 1000,
    )


def undecided(facts: SaleFacts) -> set[str]:
    """Accepted orders that nobody decided and that are not in the dead-letter queue."""
    accepted = {order.order_id for order in facts.accepted}
    decided = {decision.order_id for decision in facts.decisions}
    return accepted - decided - set(facts.dead_letters)


def double_decided(facts: SaleFacts) -> list[str]:
    """Orders with more than one line in the decision log."""
    decisions = Counter(decision.order_id for decision in facts.decisions)
    return [order_id for order_id, count in decisions.items() if count > 1]


def oversold(facts: SaleFacts) -> list[str]:
    """Each confirmation of a place that was not there to give: sold before, or beyond capacity."""
    surplus: list[str] = []
    for section, decisions in _confirmed_by_section(facts):
        taken: set[int | None] = set()
        for count, decision in enumerate(decisions, start=1):
            sold_before = section.kind is SectionKind.RESERVED and decision.seat in taken
            if sold_before or count > section.capacity:
                surplus.append(decision.order_id)
            taken.add(decision.seat)
    return surplus


def inversions(facts: SaleFacts) -> list[str]:
    """Orders told SOLD_OUT although a later one of their section got a place they would have taken.

    Later is by sequence number. An order without a wish would have taken any place, an order for
    one seat only that seat.
    """
    overtaken: list[str] = []
    for decisions in _by_section(facts.decisions).values():
        latest_of_any = 0
        latest_of_seat: dict[int | None, int] = {}
        for decision in decisions:
            if decision.outcome is Outcome.CONFIRMED:
                latest_of_any = max(latest_of_any, decision.sequence_number)
                latest_of_seat[decision.seat] = max(
                    latest_of_seat.get(decision.seat, 0), decision.sequence_number
                )
        for decision in decisions:
            if decision.outcome is Outcome.SOLD_OUT:
                rival = latest_of_any
                if decision.asked_seat is not None:
                    rival = latest_of_seat.get(decision.asked_seat, 0)
                if rival > decision.sequence_number:
                    overtaken.append(decision.order_id)
    return overtaken


def api_inversions(facts: SaleFacts) -> int:
    """How many orders reached the API before, but the queue after, another of their section.

    Two processes take orders at once, so this is the price of taking them fast. It is reported, not
    judged.
    """
    sequence = {decision.order_id: decision.sequence_number for decision in facts.decisions}
    arrivals = sorted(
        (order for order in facts.accepted if order.order_id in sequence),
        key=lambda order: (
            order.event,
            order.section,
            order.arrived_at_ms,
            order.arrival_number,
        ),
    )
    overtaken = 0
    for _, section in groupby(arrivals, key=lambda order: (order.event, order.section)):
        first_of_later: int | None = None
        for order in reversed(list(section)):
            number = sequence[order.order_id]
            if first_of_later is not None and first_of_later < number:
                overtaken += 1
            first_of_later = number if first_of_later is None else min(first_of_later, number)
    return overtaken


def orders_per_second(facts: SaleFacts) -> float:
    """Decisions a second between the first and the last one, outages included."""
    times_ms = [decision.decided_at_ms for decision in facts.decisions]
    if len(times_ms) < 2 or max(times_ms) == min(times_ms):
        return 0.0
    return len(times_ms) * 1000 / (max(times_ms) - min(times_ms))


def busiest_second(facts: SaleFacts) -> int:
    """The most decisions that were made within one second, whenever that began."""
    times_ms = sorted(decision.decided_at_ms for decision in facts.decisions)
    return max(
        (
            bisect_left(times_ms, started_ms + 1_000) - index
            for index, started_ms in enumerate(times_ms)
        ),
        default=0,
    )


def percentile(values: Sequence[int], percent: int) -> int:
    """The smallest value that `percent` of all values do not exceed; 0 of none."""
    if not values:
        return 0
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def _by_section(decisions: Iterable[LoggedDecision]) -> dict[SectionKey, list[LoggedDecision]]:
    sections: dict[SectionKey, list[LoggedDecision]] = {}
    for decision in decisions:
        sections.setdefault((decision.event, decision.section), []).append(decision)
    return sections


def _confirmed_by_section(facts: SaleFacts) -> Iterator[tuple[Section, list[LoggedDecision]]]:
    decisions = _by_section(facts.decisions)
    for section in facts.sections:
        yield (
            section,
            [
                decision
                for decision in decisions.get((section.event, section.name), [])
                if decision.outcome is Outcome.CONFIRMED
            ],
        )


def _decided_or_dead_lettered(facts: SaleFacts) -> str | None:
    missing = undecided(facts)
    if missing:
        return f"undecided: {_some(missing)}"
    decided = {decision.order_id for decision in facts.decisions}
    both = decided & set(facts.dead_letters)
    return f"decided and dead-lettered: {_some(both)}" if both else None


def _decided_once(facts: SaleFacts) -> str | None:
    twice = double_decided(facts)
    return f"decided more than once: {_some(twice)}" if twice else None


def _no_place_sold_twice(facts: SaleFacts) -> str | None:
    surplus = oversold(facts)
    return f"sold without a place: {_some(surplus)}" if surplus else None


def _places_match_decisions(facts: SaleFacts) -> str | None:
    held = {(seat.event, seat.section, seat.seat): seat.order_id for seat in facts.held_seats}
    promised = {
        (decision.event, decision.section, decision.seat): decision.order_id
        for decision in facts.decisions
        if decision.seat is not None
    }
    if held != promised:
        return "the seats that are held are not the seats that were confirmed"
    for section, confirmed in _confirmed_by_section(facts):
        sold = facts.sold.get((section.event, section.name), 0)
        if sold != len(confirmed):
            return f"{section.name} counts {sold} sold, {len(confirmed)} were confirmed"
    return None


def _sold_out_where_demand_exceeds(facts: SaleFacts) -> str | None:
    """Orders without a wish are the demand: any place would have done for them."""
    decisions = _by_section(facts.decisions)
    for section, confirmed in _confirmed_by_section(facts):
        demand = sum(
            decision.asked_seat is None
            for decision in decisions.get((section.event, section.name), [])
        )
        if demand >= section.capacity > len(confirmed):
            return f"{section.name} sold {len(confirmed)} of {section.capacity} to {demand} orders"
    return None


def _first_come_first_served(facts: SaleFacts) -> str | None:
    overtaken = inversions(facts)
    return f"overtaken: {_some(overtaken)}" if overtaken else None


def _nothing_lost(facts: SaleFacts) -> str | None:
    lost = balance(facts).lost
    return f"{lost} accepted orders are nowhere" if lost else None


def _notified_once(facts: SaleFacts) -> str | None:
    decided = {decision.order_id for decision in facts.decisions}
    notified = Counter(facts.notified)
    never, unasked = decided - notified.keys(), notified.keys() - decided
    twice = [order_id for order_id, count in notified.items() if count > 1]
    for complaint, orders in (
        ("never notified", never),
        ("notified without a decision", unasked),
        ("notified more than once", twice),
    ):
        if orders:
            return f"{complaint}: {_some(orders)}"
    return None


def _usage_written(facts: SaleFacts) -> str | None:
    accepted = facts.usage.delivered + facts.usage.failed
    if facts.usage_stored != accepted:
        return f"{facts.usage_stored} stored of {accepted} accepted by the producers"
    return None


def _queues_empty(facts: SaleFacts) -> str | None:
    left = {queue: count for queue, count in facts.left_in_queues.items() if count}
    return ", ".join(f"{count} in {queue}" for queue, count in left.items()) or None


#: What must be true at the end of a sale, each with the check that names what breaks it.
INVARIANTS: dict[str, Callable[[SaleFacts], str | None]] = {
    "every accepted order is decided or dead-lettered": _decided_or_dead_lettered,
    "no order is decided twice": _decided_once,
    "no place is sold twice": _no_place_sold_twice,
    "the places taken are the places confirmed": _places_match_decisions,
    "sold = capacity where demand exceeds it": _sold_out_where_demand_exceeds,
    "first come, first served inside each section": _first_come_first_served,
    "nothing accepted is lost": _nothing_lost,
    "one notification for each decided order": _notified_once,
    "usage logs written = accepted by the producer": _usage_written,
    "the queues are empty": _queues_empty,
}


def judge(facts: SaleFacts) -> list[Verdict]:
    """Every invariant with its verdict."""
    verdicts = []
    for invariant, check in INVARIANTS.items():
        complaint = check(facts)
        verdicts.append(Verdict(invariant, complaint is None, complaint or ""))
    return verdicts


def _some(order_ids: Iterable[str]) -> str:
    """The count and a few examples, so that a violation can be looked up."""
    ordered = sorted(order_ids)
    examples = ", ".join(ordered[:3])
    return f"{len(ordered)} ({examples}{', …' if len(ordered) > 3 else ''})"
