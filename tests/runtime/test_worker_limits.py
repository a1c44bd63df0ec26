"""How many handlers run, and start in a second, under a key; and what is counted under what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import SettingsError
from forebay.worker.breaker import CircuitBreaker, State
from forebay.worker.limits import Limit, Limiters, Place, places_of
from forebay.worker.outcomes import Failed
from forebay.worker.received import Received
from tests.runtime.worker_messages import lease


def received(payload: object) -> Received[Any]:
    return Received(
        id="m-1",
        type=None,
        key=None,
        payload=payload,
        lease=lease(),
        envelope=None,
        text="",
    )


def place(**values: Any) -> Place:
    return Place(Limit(**values), None)


def start(limiters: Limiters, where: Place, now_ms: int = 0) -> None:
    assert limiters.wait_ms(where, now_ms) == 0
    limiters.started(where, now_ms)


def test_as_many_run_as_the_limit_says_and_the_next_waits_for_an_end() -> None:
    limiters, where = Limiters(), place(running=2)
    start(limiters, where)
    start(limiters, where)
    assert limiters.wait_ms(where, 10**9) is None
    limiters.ended(where)
    start(limiters, where)


def test_each_key_is_counted_for_itself() -> None:
    limit = Limit(key=lambda each: each.payload, running=1)
    limiters = Limiters()
    for payload in ("acme", "apex"):
        (where,) = places_of([limit], None, [received(payload)])
        start(limiters, where)
        assert limiters.wait_ms(where, 0) is None
    assert limiters.remembered == 2


def test_starts_come_in_a_burst_and_then_evenly() -> None:
    limiters, where = Limiters(), place(per_s=50, burst=3)
    for _ in range(3):
        start(limiters, where, 1_000)
        limiters.ended(where)
    assert limiters.wait_ms(where, 1_000) == 20
    assert limiters.wait_ms(where, 1_001) == 19
    start(limiters, where, 1_020)
    assert limiters.wait_ms(where, 1_020) == 20
    # A pause allows a whole burst again, and no more than that.
    for _ in range(3):
        start(limiters, where, 60_000)
    assert limiters.wait_ms(where, 60_000) == 20


@pytest.mark.parametrize(
    ("values", "burst"),
    [
        ({"per_s": 50}, 5),
        ({"per_s": 0.1}, 1),
        ({"per_s": 11}, 2),
        ({"per_s": 50, "burst": 1}, 1),
        ({"running": 5}, 0),
    ],
)
def test_a_burst_is_a_tenth_of_a_second_s_by_default(values: dict[str, Any], burst: int) -> None:
    assert Limit(**values).burst_max == burst


def test_a_rate_below_one_a_second() -> None:
    limiters, where = Limiters(), place(per_s=0.1)
    start(limiters, where, 0)
    assert limiters.wait_ms(where, 1) == 9_999
    start(limiters, where, 10_000)


def test_both_bounds_hold_and_an_end_is_waited_for_first() -> None:
    limiters, where = Limiters(), place(running=1, per_s=1)
    start(limiters, where, 0)
    assert limiters.wait_ms(where, 5_000) is None
    limiters.ended(where)
    assert limiters.wait_ms(where, 400) == 600
    assert limiters.wait_ms(where, 5_000) == 0


@given(
    per_s=st.floats(0.5, 5_000),
    burst=st.integers(1, 20),
    gaps_ms=st.lists(st.integers(0, 300), max_size=200),
)
def test_no_window_has_more_starts_than_its_rate_and_a_burst(
    per_s: float, burst: int, gaps_ms: list[int]
) -> None:
    limiters, where = Limiters(), place(per_s=per_s, burst=burst)
    starts: list[int] = []
    now_ms = 0
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        wait_ms = limiters.wait_ms(where, now_ms)
        assert wait_ms is not None
        if wait_ms:
            assert limiters.wait_ms(where, now_ms + wait_ms) == 0
            assert limiters.wait_ms(where, now_ms + wait_ms - 1) != 0
        else:
            limiters.started(where, now_ms)
            limiters.ended(where)
            starts.append(now_ms)
    for first, begin_ms in enumerate(starts):
        for last in range(first, len(starts)):
            window_s = (starts[last] - begin_ms) / 1000
            assert last - first + 1 <= burst + window_s * per_s + 1e-6


@given(
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=200),
    most=st.integers(1, 4),
)
def test_never_more_run_than_the_limit_says(steps: list[tuple[str, bool]], most: int) -> None:
    limit, limiters = Limit(key=str, running=most), Limiters()
    running = {"a": 0, "b": 0}
    for key, starts in steps:
        where = Place(limit, key)
        if starts:
            wait_ms = limiters.wait_ms(where, 0)
            assert (wait_ms is None) is (running[key] == most)
            if wait_ms == 0:
                limiters.started(where, 0)
                running[key] += 1
        elif running[key]:
            limiters.ended(where)
            running[key] -= 1
        assert limiters.remembered == sum(count > 0 for count in running.values())


def test_idle_keys_are_forgotten() -> None:
    by_rate, by_count = Limit(key=str, per_s=10), Limit(key=str, running=1)
    limiters = Limiters()
    for number in range(100_000):
        for limit in (by_rate, by_count):
            start(limiters, Place(limit, number), now_ms=number)
            limiters.ended(Place(limit, number))
    # A rate of 10 remembers a start for 100 ms, in which there are 100 of them here.
    assert limiters.remembered <= 1_000


def test_keys_that_are_in_use_are_never_forgotten() -> None:
    limiters, limit = Limiters(), Limit(key=str, running=1, per_s=1_000)
    for number in range(5_000):
        start(limiters, Place(limit, number), now_ms=10 * number)
    assert all(limiters.wait_ms(Place(limit, number), 10**9) is None for number in range(5_000))


def test_handlers_that_share_a_limit_are_counted_together() -> None:
    shared = Limit(running=1)
    limiters = Limiters()
    start(limiters, Place(shared, None))
    assert limiters.wait_ms(Place(shared, None), 0) is None
    # Another limit with the same numbers is another limit, unless both have the same name.
    assert limiters.wait_ms(Place(Limit(running=1), None), 0) == 0
    start(limiters, Place(Limit("bank", running=1), "bank"))
    assert limiters.wait_ms(Place(Limit("bank", running=1), "bank"), 0) is None
    assert limiters.wait_ms(Place(Limit("bank", running=2), "bank"), 0) == 0


def test_what_a_message_is_counted_under() -> None:
    by_tenant = Limit(key=lambda each: each.payload, running=1)
    rate = Limit(per_s=5)
    breaker = CircuitBreaker()
    assert places_of([], None, [received("acme")]) == ()
    assert places_of([by_tenant, rate], breaker, [received("acme")]) == (
        Place(by_tenant, "acme"),
        Place(rate, None),
        Place(breaker, None),
    )
    assert places_of([by_tenant], None, [received(None)]) == ()
    assert places_of([Limit("bank", running=1)], None, [received("acme")]) == (
        Place(Limit("bank", running=1), "bank"),
    )
    batch = [received(payload) for payload in ("acme", "apex", None, "acme")]
    assert places_of([by_tenant, rate], None, batch) == (
        Place(by_tenant, "acme"),
        Place(by_tenant, "apex"),
        Place(rate, None),
    )


def test_a_key_that_cannot_be_made_or_counted_is_told_before_anything_runs() -> None:
    with pytest.raises(AttributeError, match="tenant"):
        places_of([Limit(key=lambda each: each.payload.tenant, running=1)], None, [received(1)])
    with pytest.raises(TypeError, match="unhashable"):
        places_of([Limit(key=lambda each: each.payload, running=1)], None, [received([])])


def test_a_breaker_is_a_place_like_any_other() -> None:
    breaker = CircuitBreaker(1.0, of=1, open_s=10)
    limiters, where = Limiters(), Place(breaker, None)
    start(limiters, where, 0)
    breaker.record(Failed(RuntimeError()), started_ms=0, now_ms=0)
    limiters.ended(where)
    assert limiters.wait_ms(where, 4_000) == 6_000
    start(limiters, where, 10_000)
    assert breaker.state(10_000) is State.HALF_OPEN
    assert limiters.wait_ms(where, 10_000) == 10_000
    assert limiters.remembered == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "A Limit limits nothing; give running, per_s or both"),
        ({"key": "bank"}, "A Limit limits nothing"),
        ({"key": "", "running": 1}, "The key of a Limit is ''; give a text that is not empty"),
        ({"key": 7, "running": 1}, "The key of a Limit is 7"),
        ({"running": 0}, "running of a Limit is 0; it must be at least 1"),
        ({"per_s": 0}, "per_s of a Limit is 0; it must be above 0"),
        ({"per_s": float("inf")}, "per_s of a Limit is inf; it must be above 0"),
        ({"per_s": 5, "burst": 0}, "burst of a Limit is 0; it must be at least 1"),
        ({"running": 5, "burst": 5}, "A Limit has a burst but no per_s; give both"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Limit(**values)
