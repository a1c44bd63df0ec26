"""Three bounded channels: strict between classes until an item is aged, and nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import SettingsError
from forebay.worker.priority_buffer import Capacities, PriorityBuffer
from forebay.worker.queue import HIGH, LOW, MEDIUM, Priority


class Item:
    """An item whose identity counts, as that of a lease does."""

    def __init__(self, name: str, priority: Priority = MEDIUM, pushed_ms: int = 0) -> None:
        self.name = name
        self.priority = priority
        self.pushed_ms = pushed_ms

    def __repr__(self) -> str:
        return self.name


def buffer_of(
    high: int = 10,
    medium: int = 10,
    low: int = 10,
    *,
    age_bound_s: float = 5.0,
    overtakes_max: int = 1_000,
) -> PriorityBuffer[Item]:
    return PriorityBuffer(
        Capacities(high=high, medium=medium, low=low),
        age_bound_s=age_bound_s,
        overtakes_max=overtakes_max,
    )


def fill(buffer: PriorityBuffer[Item], names: str, now_ms: int = 0) -> list[Item]:
    """`h1 m2 l3`: the first letter is the class."""
    classes = {"h": HIGH, "m": MEDIUM, "l": LOW}
    items = [Item(name, classes[name[0]]) for name in names.split()]
    for item in items:
        assert buffer.push(item, item.priority, now_ms)
    return items


def empty(buffer: PriorityBuffer[Item], now_ms: int = 0) -> str:
    popped = []
    while (item := buffer.pop(now_ms)) is not None:
        popped.append(item.name)
    return " ".join(popped)


def test_the_higher_class_goes_first_and_within_a_class_what_came_first() -> None:
    buffer = buffer_of()
    fill(buffer, "l1 m1 h1 l2 h2 m2")
    assert empty(buffer) == "h1 h2 m1 m2 l1 l2"
    assert buffer.pop(0) is None
    assert len(buffer) == 0


def test_an_item_that_waited_for_the_age_bound_goes_before_every_younger_one() -> None:
    buffer = buffer_of(age_bound_s=5.0)
    fill(buffer, "l1 l2", now_ms=0)
    fill(buffer, "m1", now_ms=1)
    fill(buffer, "h1 h2", now_ms=3_000)
    assert str(buffer.pop(4_999)) == "h1"
    assert str(buffer.pop(5_000)) == "l1"
    assert empty(buffer, 5_001) == "l2 m1 h2"


def test_an_item_overtaken_as_often_as_allowed_goes_next() -> None:
    buffer = buffer_of(overtakes_max=2)
    fill(buffer, "h0 l1 h1 h2 h3 l2")
    # h0 came before l1, so it does not overtake it.
    assert empty(buffer) == "h0 h1 h2 l1 h3 l2"


@pytest.mark.parametrize(("age_bound_s", "overtakes_max"), [(0.0, 1_000), (5.0, 0)])
def test_without_tolerance_it_is_one_queue(age_bound_s: float, overtakes_max: int) -> None:
    buffer = buffer_of(age_bound_s=age_bound_s, overtakes_max=overtakes_max)
    fill(buffer, "l1 h1 m1 h2 l2")
    assert empty(buffer) == "l1 h1 m1 h2 l2"


def test_a_full_channel_refuses_and_keeps_what_it_has() -> None:
    buffer = buffer_of(low=2)
    fill(buffer, "l1 l2 h1")
    assert buffer.room(LOW) == 0
    assert not buffer.push(Item("l3"), LOW, 0)
    assert buffer.push(Item("h2"), HIGH, 0)
    assert [stat.refused for stat in buffer.stats()] == [0, 0, 1]
    assert [stat.came_in for stat in buffer.stats()] == [2, 0, 2]
    assert empty(buffer) == "h1 h2 l1 l2"


def test_an_item_whose_place_was_kept_comes_in_beyond_the_capacity() -> None:
    """A receive that was started while there was room may end after a shrink."""
    buffer = buffer_of(medium=3)
    buffer.resize(Capacities(high=1, medium=1, low=1))
    fill(buffer, "m1")
    assert buffer.push(Item("m2"), MEDIUM, 0, place_kept=True)
    assert buffer.room(MEDIUM) == 0
    assert empty(buffer) == "m1 m2"


def test_a_shrink_keeps_what_is_in_and_a_growth_takes_more() -> None:
    buffer = buffer_of(high=3)
    fill(buffer, "h1 h2 h3")
    buffer.resize(Capacities(high=1, medium=1, low=1))
    assert buffer.size(HIGH) == 3
    assert buffer.room(HIGH) == 0
    assert not buffer.push(Item("h4"), HIGH, 0)
    buffer.resize(Capacities(high=5, medium=1, low=1))
    assert buffer.room(HIGH) == 2
    fill(buffer, "h5 h6")
    assert empty(buffer) == "h1 h2 h3 h5 h6"


def test_items_can_be_taken_out_before_their_turn() -> None:
    buffer = buffer_of()
    h1, l1, h2, l2, m1 = fill(buffer, "h1 l1 h2 l2 m1")
    assert buffer.remove([l2, h1, Item("h2"), l1]) == [h1, l1, l2]
    assert len(buffer) == 2
    assert empty(buffer) == "h2 m1"
    assert buffer.remove([h2, m1]) == []


def test_a_drain_returns_everything_in_order() -> None:
    buffer = buffer_of()
    fill(buffer, "l1 h1 m1 l2 h2")
    assert [item.name for item in buffer.drain()] == ["h1", "h2", "m1", "l1", "l2"]
    assert len(buffer) == 0
    assert buffer.pop(0) is None
    assert [(stat.size, stat.came_in, stat.went_out) for stat in buffer.stats()] == [
        (0, 2, 2),
        (0, 1, 1),
        (0, 2, 2),
    ]


def test_the_buffer_shows_its_use_and_how_long_items_waited() -> None:
    buffer = buffer_of()
    fill(buffer, "h1 h2 l1")
    assert buffer.oldest_wait_ms(70) == 70
    buffer.pop(90)
    before = buffer.stats()
    buffer.pop(700)
    high, _, low = buffer.stats()
    assert (high.priority, high.size, high.capacity, high.came_in, high.went_out) == (
        3,
        0,
        10,
        2,
        2,
    )
    assert high.wait.counts[:3] == [1, 0, 1]
    assert (high.wait.sum_ms, high.wait.max_ms) == (790, 700)
    assert (low.priority, low.size, low.went_out) == (1, 1, 0)
    # A snapshot does not change behind the back of its holder.
    assert before[0].wait.counts[:3] == [1, 0, 0]
    buffer.drain()
    assert buffer.oldest_wait_ms(1_000) == 0


def test_sizes_and_bounds_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="The low buffer is 0; it must be at least 1"):
        Capacities(high=1, medium=1, low=0)
    with pytest.raises(SettingsError, match="age_bound_s is nan; it must be at least 0"):
        buffer_of(age_bound_s=float("nan"))
    with pytest.raises(SettingsError, match="overtakes_max is -1; it must be at least 0"):
        buffer_of(overtakes_max=-1)


#: Pushes into a class, and pops and removals (None, -1); each a number of milliseconds after the
#: one before.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3_000),
        st.sampled_from([HIGH, HIGH, HIGH, MEDIUM, LOW, None, None, None, -1]),
    ),
    max_size=150,
)


@given(steps=STEPS, overtakes_max=st.integers(0, 6), age_bound_s=st.sampled_from([0.5, 5.0, 1e9]))
def test_overtakes_are_bounded_and_nothing_is_lost(
    steps: list[tuple[int, Priority | int | None]], overtakes_max: int, age_bound_s: float
) -> None:
    buffer = buffer_of(8, 8, 8, overtakes_max=overtakes_max, age_bound_s=age_bound_s)
    inside: list[Item] = []
    overtakes: dict[Item, int] = {}
    now_ms = 0
    for after_ms, step in steps:
        now_ms += after_ms
        if isinstance(step, Priority):
            item = Item(str(now_ms), step, now_ms)
            full = sum(other.priority is step for other in inside) == 8
            assert buffer.push(item, step, now_ms) is not full
            if not full:
                inside.append(item)
                overtakes[item] = 0
        elif step == -1:
            taken = inside[1::3]
            assert set(buffer.remove(taken)) == set(taken)
            inside = [item for item in inside if item not in taken]
        elif (popped := buffer.pop(now_ms)) is None:
            assert not inside
        else:
            place = inside.index(popped)
            for older in inside[:place]:
                overtakes[older] += 1
                assert overtakes[older] <= overtakes_max
                assert now_ms - older.pushed_ms < age_bound_s * 1000
                assert older.priority < popped.priority
            inside.remove(popped)
        assert len(buffer) == len(inside)
        for stat in buffer.stats():
            assert stat.came_in == stat.went_out + stat.size
    assert sorted(map(id, buffer.drain())) == sorted(map(id, inside))


@given(steps=st.lists(st.sampled_from([HIGH, MEDIUM, LOW, None, None]), max_size=150))
def test_without_ageing_a_higher_class_always_goes_first(steps: list[Priority | None]) -> None:
    buffer = buffer_of(200, 200, 200, overtakes_max=1_000, age_bound_s=1e9)
    inside: list[Item] = []
    for number, step in enumerate(steps):
        if step is not None:
            inside.append(Item(str(number), step))
            buffer.push(inside[-1], step, 0)
        elif inside:
            first = max(inside, key=lambda item: item.priority)
            assert buffer.pop(0) is first
            inside.remove(first)
