"""What holds for every scaling policy: bounds, steps, cooldowns, and no number that breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.worker.scaling import (
    Document002,
    LittlesLaw,
    Load,
    Pool,
    Rate,
    ScalingInput,
    ScalingPolicy,
)
from forebay.worker.scaling.base import Steps, stepped
from tests.runtime.scaling_inputs import load, pool

STEPS = Steps(up=3, down=1, cooldown_up_s=5, cooldown_down_s=10)


@pytest.mark.parametrize(
    ("target", "wanted", "since", "after"),
    [
        (10, 40, {}, 13),
        (10, 12, {}, 12),
        (10, 1, {}, 9),
        (10, 10, {}, 10),
        # Bounds are 5 and 100.
        (99, 1_000, {}, 100),
        (6, 0, {}, 5),
        (5, -7, {}, 5),
        (10, float("inf"), {}, 13),
        # A target outside the bounds comes back at once, whatever is wanted.
        (200, 200, {}, 100),
        (2, 2, {}, 5),
        # A step up rests after a step up, not after one down.
        (10, 40, {"since_up_s": 4.9}, 10),
        (10, 40, {"since_up_s": 5.0}, 13),
        (10, 40, {"since_down_s": 0.0}, 13),
        # A step down rests after either.
        (10, 1, {"since_down_s": 9.9}, 10),
        (10, 1, {"since_up_s": 9.9}, 10),
        (10, 1, {"since_up_s": 10.0, "since_down_s": 10.0}, 9),
    ],
)
def test_a_target_moves_by_steps_and_rests(
    target: int, wanted: float, since: dict[str, Any], after: int
) -> None:
    where = pool(target, least=5, **since)
    assert stepped(where, wanted, "because", STEPS).after == after


def test_a_target_that_rests_says_so() -> None:
    target = stepped(pool(10, since_up_s=1.0), 40, "much to do", STEPS)
    assert target.reason == "much to do; it has just grown"
    target = stepped(pool(10, since_up_s=1.0), 4, "little to do", STEPS)
    assert target.reason == "little to do; it has just changed"


def test_usage_and_room_count_messages() -> None:
    """Document 002's code adds fractions up to a capacity, and divides messages by bytes."""
    half = load(buffered=(6_000, 0, 1_500))
    assert half.buffer_usage == 0.5
    assert half.channel_usages == (1.0, 0.0, 0.375)
    assert half.buffer_room == 7_500


def test_a_channel_beyond_its_capacity_leaves_no_room_and_takes_none_of_the_others() -> None:
    shrunk = Load(buffered=(30, 0, 0), capacity=(10, 10, 10))
    assert shrunk.buffer_room == 20
    assert shrunk.channel_usages == (3.0, 0.0, 0.0)


def test_an_empty_pool_and_a_buffer_without_places_divide_by_nothing() -> None:
    assert pool(0).utilisation == 0
    nothing = Load(buffered=(0, 0, 0), capacity=(0, 0, 0))
    assert nothing.buffer_usage == 0
    assert nothing.channel_usages == (0.0, 0.0, 0.0)


NUMBERS = st.none() | st.floats() | st.integers(0, 10**12)
COUNTS = st.tuples(*[st.integers(0, 10**9)] * 3)
POOLS = st.builds(
    lambda least, extra, target, busy, up, down: Pool(
        target=min(max(target, least), least + extra),
        busy=busy,
        least=least,
        most=least + extra,
        since_up_s=up,
        since_down_s=down,
    ),
    st.integers(1, 1_000),
    st.integers(0, 1_000),
    st.integers(1, 2_000),
    st.integers(0, 10_000),
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
)
LOADS = st.builds(
    Load,
    buffered=COUNTS,
    capacity=COUNTS,
    visible=st.none() | st.integers(0, 10**12),
    in_flight=st.none() | st.integers(0, 10**12),
    handling_ms=NUMBERS,
    arrival_per_s=NUMBERS,
    received_per_s=st.floats(),
    completed_per_s=st.floats(),
    oldest_age_s=st.floats(),
    receive_ms=NUMBERS,
    messages_per_receive=NUMBERS,
    interval_s=st.floats(),
)


@pytest.mark.parametrize(
    "policy", [Document002(), LittlesLaw()], ids=lambda each: type(each).__name__
)
@given(pollers=POOLS, processors=POOLS, load=LOADS)
def test_no_number_takes_a_target_out_of_its_bounds(
    policy: ScalingPolicy, pollers: Pool, processors: Pool, load: Load
) -> None:
    seen = ScalingInput(pollers=pollers, processors=processors, load=load)
    for where, target in (
        (pollers, policy.pollers(seen)),
        (processors, policy.processors(seen)),
    ):
        assert where.least <= target.after <= where.most
        assert isinstance(target.after, int)
        assert target.reason
    assert policy.poll_pause_ms(load) >= 0


def test_a_rate_is_that_of_the_latest_seconds_whoever_reads_it() -> None:
    """Document 002's rate is a lifetime's total over the time since anyone read it last."""
    rate = Rate(window_s=5)
    assert rate.per_s is None
    rate.observe(1_000_000, 0)
    assert rate.per_s is None
    for second in range(1, 21):
        rate.observe(1_000_000 + 50 * second, 1000 * second)
        assert [rate.per_s, rate.per_s] == [50.0, 50.0]
    for second in range(21, 27):
        rate.observe(1_001_000, 1000 * second)
    assert rate.per_s == 0


def test_a_rate_may_be_negative_and_survives_a_pause() -> None:
    rate = Rate(window_s=5)
    rate.observe(100, 0)
    rate.observe(100, 0)
    assert rate.per_s is None
    rate.observe(40, 60_000)
    assert rate.per_s == -1.0


def test_policies_are_compared_by_value() -> None:
    policies: list[Any] = [LittlesLaw(), LittlesLaw(), LittlesLaw(age_objective_s=1)]
    assert policies[0] == policies[1] != policies[2]
