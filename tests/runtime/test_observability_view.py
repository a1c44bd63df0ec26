"""Counts of workers over the lives of their processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay.observability.view import carried_on, ledger_of, left_behind
from forebay.worker.snapshot import Count, PoolSnapshot
from tests.runtime.snapshots import buffer, histogram, ledger, process, queue, view, worker


def test_what_a_dead_process_had_in_hand_is_lost_and_nothing_of_it_is_busy() -> None:
    busy = PoolSnapshot(target=4, busy=3, least=1, most=8)
    dead = left_behind(
        worker(
            queue(polls=2, trouble="No answer", ledger=ledger(received=9, acked=4, in_hand=5)),
            buffers=[buffer(size=5, came_in=9, went_out=4)],
            processors=busy,
            hanging=1,
            held_back={"pool": "full"},
        )
    )
    assert ledger_of(dead) == ledger(received=9, acked=4, lost=5)
    assert (dead.processors.busy, dead.pollers.busy, dead.hanging) == (0, 0, 0)
    assert (dead.buffers[0].size, dead.buffers[0].came_in) == (0, 9)
    assert (dead.queues[0].polls, dead.queues[0].trouble, dead.held_back) == (0, "", {})


def test_counts_go_on_in_the_process_that_follows() -> None:
    past = worker(
        queue(
            receives=5,
            empty_receives=1,
            failed_receives=2,
            failures=3,
            ledger=ledger(received=9, acked=4, lost=5),
            handling=histogram(50, 700),
        ),
        buffers=[buffer(came_in=9, went_out=4, refused=1, wait=histogram(20_000))],
    )
    now = worker(
        queue(
            receives=1,
            failures=1,
            ledger=ledger(received=2, acked=1, in_hand=1),
            handling=histogram(60),
        ),
        queue("mail", receives=4),
        buffers=[buffer(size=1, came_in=2, went_out=1, wait=histogram(10))],
    )
    orders, mail = carried_on(past, now).queues
    assert (orders.receives, orders.empty_receives, orders.failed_receives) == (6, 1, 2)
    assert orders.failures == 4
    assert orders.ledger == ledger(received=11, acked=5, lost=5, in_hand=1)
    assert orders.handling == histogram(50, 700, 60)
    assert mail.receives == 4
    (channel,) = carried_on(past, now).buffers
    assert (channel.size, channel.came_in, channel.went_out, channel.refused) == (1, 11, 5, 1)
    assert channel.wait == histogram(20_000, 10)
    assert carried_on(None, now) == now


counts = st.integers(0, 1_000)


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=8))
def test_no_count_goes_down_and_none_is_below_zero_however_often_a_process_dies(
    lives: list[tuple[int, int]],
) -> None:
    past, before = None, 0
    for acked, in_hand in lives:
        own = ledger(received=acked + in_hand, acked=acked, in_hand=in_hand)
        seen = carried_on(past, worker(queue(ledger=own)))
        total = ledger_of(seen)
        assert total.received >= before
        assert total.balances
        past, before = left_behind(seen), total.received
        assert ledger_of(past).balances
        assert ledger_of(past).in_hand == past.processors.busy == 0


def test_the_depth_of_a_queue_is_what_was_said_last() -> None:
    old = worker(queue(visible=90, counted_ago_s=4.0), at_ms=9_000)
    new = worker(queue(visible=80, counted_ago_s=0.5), at_ms=8_000)
    unknown = worker(queue(visible=None), at_ms=9_000)
    seen = view(*(process(each) for each in (new, unknown, old)))
    newest = seen.newest("orders")
    assert newest is not None
    assert newest.visible == 80
    assert seen.newest("mail") is None


def test_queues_are_named_by_class_and_name() -> None:
    one = process(worker(queue("mail", 1), queue("b", 3)))
    two = process(worker(queue("a", 3), queue("b", 3)))
    assert view(one, two).queue_names() == ["a", "b", "mail"]


def test_what_handlers_count_goes_on_by_name_and_labels() -> None:
    def counts(rows: int, **others: int) -> list[Count]:
        return [
            Count("rows", "Rows", rows, {"type": "log", "node": "a"}),
            *(Count(name, name, value) for name, value in others.items()),
        ]

    past = left_behind(worker(counts=counts(5, tries=1)))
    seen = carried_on(past, worker(counts=[*counts(2), Count("rows", "Rows", 9, {"type": "x"})]))
    assert {(count.name, count.labels.get("type"), count.value) for count in seen.counts} == {
        ("rows", "log", 7),
        ("rows", "x", 9),
        ("tries", None, 1),
    }
