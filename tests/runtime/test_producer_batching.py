"""Which messages share a batch, as tables and as properties over random traffic."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.producer.batching import Lanes
from forebay.producer.entry import Entry
from forebay.protocol import limits


def entry(name: str, group: str | None = None, size_bytes: int = 1) -> Entry:
    return Entry(name, b"x" * size_bytes, group, None)


def lanes_with(*entries: Entry, fifo: bool = False) -> Lanes:
    lanes = Lanes(fifo=fifo)
    for each in entries:
        lanes.add(each)
    return lanes


def names(batch: list[Entry]) -> list[str]:
    return [each.envelope_id for each in batch]


def test_a_full_batch_leaves_at_once() -> None:
    lanes = lanes_with(*[entry(str(n)) for n in range(10)])
    assert names(lanes.next_batch(10)) == [str(n) for n in range(10)]
    assert lanes.next_batch(10) == []


def test_a_batch_that_is_not_full_waits_until_it_is_due() -> None:
    lanes = lanes_with(entry("a"))
    assert lanes.next_batch(10) == []
    lanes.mark_due()
    assert names(lanes.next_batch(10)) == ["a"]


def test_a_message_that_comes_after_the_tick_waits_for_the_next() -> None:
    lanes = lanes_with(entry("a"))
    lanes.mark_due()
    assert names(lanes.next_batch(10)) == ["a"]
    lanes.add(entry("b"))
    assert lanes.next_batch(10) == []


def test_a_message_that_is_due_takes_later_ones_with_it() -> None:
    lanes = lanes_with(entry("a"))
    lanes.mark_due()
    lanes.add(entry("b"))
    assert names(lanes.next_batch(10)) == ["a", "b"]


def test_a_tick_drains_many_batches() -> None:
    lanes = lanes_with(*[entry(str(n)) for n in range(25)])
    lanes.mark_due()
    sizes = [len(lanes.next_batch(10)) for _ in range(4)]
    assert sizes == [10, 10, 5, 0]


@pytest.mark.parametrize(
    ("sizes_bytes", "batches"),
    [
        ([60, 40], [[60, 40]]),
        ([60, 41], [[60], [41]]),
        ([100, 1], [[100], [1]]),
        ([30, 30, 30, 30], [[30, 30, 30], [30]]),
    ],
)
def test_a_batch_has_at_most_so_many_bytes(
    sizes_bytes: list[int], batches: list[list[int]]
) -> None:
    lanes = lanes_with(*[entry(str(n), size_bytes=size) for n, size in enumerate(sizes_bytes)])
    lanes.mark_due()
    taken = []
    while batch := lanes.next_batch(10, batch_bytes=100):
        taken.append([len(each.body) for each in batch])
    assert taken == batches


def test_a_batch_that_no_more_fits_into_is_full() -> None:
    lanes = lanes_with(*[entry(str(n), size_bytes=300_000) for n in range(3)])
    assert lanes.next_batch(10) == []
    lanes.add(entry("3", size_bytes=300_000))
    assert names(lanes.next_batch(10)) == ["0", "1", "2"]


def test_the_largest_message_of_sqs_travels_alone() -> None:
    lanes = lanes_with(entry("large", size_bytes=limits.MESSAGE_BYTES_MAX), entry("small"))
    assert names(lanes.next_batch(10)) == ["large"]


def test_on_a_standard_queue_groups_do_not_wait() -> None:
    lanes = lanes_with(entry("a", "tenant"), entry("b", "tenant"))
    lanes.mark_due()
    assert names(lanes.next_batch(1)) == ["a"]
    assert names(lanes.next_batch(1)) == ["b"]
    lanes.release({"tenant"})


def test_on_a_fifo_queue_a_group_waits_for_its_batch() -> None:
    lanes = lanes_with(entry("a1", "A"), entry("a2", "A"), entry("b1", "B"), fifo=True)
    lanes.mark_due()
    assert names(lanes.next_batch(1)) == ["a1"]
    assert names(lanes.next_batch(1)) == ["b1"]
    assert lanes.next_batch(1) == []
    lanes.release({"A"})
    assert names(lanes.next_batch(1)) == ["a2"]


def test_a_batch_holds_several_groups_and_several_messages_of_each() -> None:
    lanes = lanes_with(
        entry("a1", "A"), entry("b1", "B"), entry("a2", "A"), entry("c1", "C"), fifo=True
    )
    lanes.mark_due()
    assert names(lanes.next_batch(10)) == ["a1", "a2", "b1", "c1"]


def test_what_waits_in_a_busy_group_fills_no_batch() -> None:
    lanes = lanes_with(entry("a0", "A"), fifo=True)
    lanes.mark_due()
    assert names(lanes.next_batch(10)) == ["a0"]
    for n in range(1, 10):
        lanes.add(entry(f"a{n}", "A"))
    lanes.add(entry("b", "B"))
    assert lanes.next_batch(10) == []
    lanes.release({"A"})
    assert len(lanes.next_batch(10)) == 10


def test_the_group_whose_message_is_oldest_goes_first() -> None:
    lanes = lanes_with(entry("a1", "A"), entry("a2", "A"), entry("b1", "B"), fifo=True)
    lanes.mark_due()
    assert names(lanes.next_batch(1)) == ["a1"]
    lanes.add(entry("c1", "C"))
    lanes.mark_due()
    lanes.release({"A"})
    assert [names(lanes.next_batch(1)) for _ in range(3)] == [["a2"], ["b1"], ["c1"]]


def test_a_due_message_is_not_held_up_by_a_group_that_is_not_due() -> None:
    lanes = lanes_with(entry("a1", "A"), entry("a2", "A"), fifo=True)
    lanes.mark_due()
    assert names(lanes.next_batch(1)) == ["a1"]
    lanes.add(entry("b1", "B"))
    lanes.release({"A"})
    assert names(lanes.next_batch(10))[0] == "a2"


@given(
    fifo=st.booleans(),
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from("ABC"), st.integers(min_value=1, max_value=60)),
            st.just("tick"),
            st.just("take"),
            st.just("settle"),
        ),
        max_size=80,
    ),
    batch_size=st.integers(min_value=1, max_value=10),
)
def test_random_traffic_leaves_once_in_order_and_within_the_limits(
    fifo: bool, steps: list[tuple[str, int] | str], batch_size: int
) -> None:
    lanes = Lanes(fifo=fifo)
    added: dict[str, list[str]] = defaultdict(list)
    left: dict[str, list[str]] = defaultdict(list)
    under_way: list[list[Entry]] = []

    def take() -> bool:
        batch = lanes.next_batch(batch_size, batch_bytes=100)
        assert len(batch) <= batch_size
        assert sum(len(each.body) for each in batch) <= 100
        if fifo:
            busy = {each.group_id for other in under_way for each in other}
            assert busy.isdisjoint(each.group_id for each in batch)
        for each in batch:
            left[each.group_id or ""].append(each.envelope_id)
        if batch:
            under_way.append(batch)
        return bool(batch)

    def settle() -> None:
        lanes.release({each.group_id for each in under_way.pop(0)})

    for number, step in enumerate(steps):
        if step == "tick":
            lanes.mark_due()
        elif step == "take":
            take()
        elif step == "settle":
            if under_way:
                settle()
        elif not isinstance(step, str):
            group, size_bytes = step
            added[group].append(str(number))
            lanes.add(entry(str(number), group, size_bytes))

    lanes.mark_due()
    while take() or under_way:
        if under_way:
            settle()
    assert left == added
