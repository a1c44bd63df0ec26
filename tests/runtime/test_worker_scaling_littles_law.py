"""The default scaling: its arithmetic, and whole runs in virtual time that it has to steer well."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from forebay.errors import SettingsError
from forebay.worker.scaling import LittlesLaw, Load
from tests.runtime.scaling_inputs import load, pool, seen
from tests.runtime.scaling_simulation import Simulation, evenly, turns

POLICY = LittlesLaw()

#: Handlers of two seconds that have enough to do.
TAKEN = {"buffered": (20, 0, 0), "handling_ms": 2_000.0}


def processors_for(load: Load, target: int = 10, busy: int = 0, **where: Any) -> int:
    processors = pool(target, busy=busy, **({"least": 4, "most": 512} | where))
    return POLICY.processors(seen(load, processors=processors)).after


def pollers_for(load: Load, target: int = 10, **where: Any) -> int:
    pollers = pool(target, **({"most": 64} | where))
    return POLICY.pollers(seen(load, pollers=pollers, processors=pool(10, most=512))).after


@pytest.mark.parametrize(
    ("target", "busy", "values", "after"),
    [
        # 500 a second of 100 ms are 50 at a time, and a quarter for headroom.
        (40, 0, {"arrival_per_s": 500.0, "handling_ms": 100.0}, 63),
        (40, 0, {"arrival_per_s": 500.0, "handling_ms": 100.0, "received_per_s": 9e9}, 63),
        # What is received counts as what comes in where that is not known.
        (40, 0, {"received_per_s": 500.0, "handling_ms": 100.0}, 63),
        (40, 0, {"arrival_per_s": -9.0, "received_per_s": 500.0, "handling_ms": 100.0}, 36),
        # 2,000 that wait are 400 a second for five seconds, buffered or not.
        (40, 0, {"visible": 2_000, "handling_ms": 100.0}, 50),
        (40, 0, {"visible": 1_500, "buffered": (0, 0, 500), "handling_ms": 100.0}, 50),
        # Three seconds old, they have two left; beyond the objective a quarter of it.
        (40, 0, {"visible": 2_000, "handling_ms": 100.0, "oldest_age_s": 3.0}, 125),
        (100, 0, {"visible": 2_000, "handling_ms": 100.0, "oldest_age_s": 3_600.0}, 200),
        # A target rises four times at most.
        (4, 0, {"visible": 2_000, "handling_ms": 100.0}, 16),
        # It falls by a tenth, and by one at least.
        (200, 0, {"arrival_per_s": 500.0, "handling_ms": 100.0}, 180),
        (9, 0, {"arrival_per_s": 5.0, "handling_ms": 100.0}, 8),
        # Within a quarter it stays where it is; to the least it goes all the way.
        (80, 0, {"arrival_per_s": 500.0, "handling_ms": 100.0}, 80),
        (5, 0, {"handling_ms": 100.0}, 4),
        # Before any handler has ended: it grows only while every place is taken.
        (10, 10, {"buffered": (1, 0, 0)}, 21),
        (10, 8, {"buffered": (1, 0, 0)}, 10),
        (10, 10, {"visible": 0}, 10),
        (10, 0, {"visible": 5}, 10),
        # An idle worker that began with more gives it back.
        (10, 0, {"visible": 0}, 9),
        (10, 0, {}, 9),
        # Late, every place taken, and nothing known of the queue: the need cannot be reckoned.
        (10, 10, {"buffered": (9, 0, 0), "handling_ms": 1.0, "oldest_age_s": 2.6}, 21),
        (10, 10, {"buffered": (9, 0, 0), "handling_ms": 1.0, "oldest_age_s": 2.5}, 9),
        # Late, but not for want of places, as behind a message group that is blocked.
        (10, 3, {"buffered": (9, 0, 0), "handling_ms": 1.0, "oldest_age_s": 600.0}, 9),
    ],
)
def test_how_many_processors_are_needed(
    target: int, busy: int, values: dict[str, Any], after: int
) -> None:
    assert processors_for(load(**values), target, busy) == after


@pytest.mark.parametrize(
    ("target", "values", "after"),
    [
        # 500 a second by ten are 50 receives a second; of 200 ms that is 10 at a time.
        (10, {"arrival_per_s": 500.0, "receive_ms": 200.0, "messages_per_receive": 10.0}, 13),
        # Twice the latency, twice the pollers; half a batch, twice as well.
        (10, {"arrival_per_s": 500.0, "receive_ms": 400.0, "messages_per_receive": 10.0}, 25),
        (10, {"arrival_per_s": 500.0, "receive_ms": 200.0, "messages_per_receive": 5.0}, 25),
        (10, {"arrival_per_s": 500.0, "receive_ms": 200.0}, 13),
        # A local broker answers in 4 ms: one is enough, and ten shrink slowly.
        (10, {"arrival_per_s": 500.0, "receive_ms": 4.0}, 9),
        # The backlog within the objective; what is buffered need not be received.
        (10, {"visible": 2_500, "receive_ms": 200.0}, 13),
        (10, {"visible": 2_500, "receive_ms": 200.0, "buffered": (0, 0, 3_500)}, 13),
        # Not more than 512 processors of 2 s can take: 256 a second.
        (10, TAKEN | {"visible": 90_000, "receive_ms": 250.0}, 10),
        (10, TAKEN | {"visible": 90_000, "receive_ms": 400.0}, 13),
        # Places are free and more is visible than is brought until the next decision.
        (2, {"visible": 5_001, "receive_ms": 4.0}, 8),
        (2, {"visible": 5_000, "receive_ms": 4.0}, 1),
        (2, {"visible": 5_001, "receive_ms": 4.0, "buffered": (0, 10, 0)}, 1),
        # A target rises four times at most, and by four at least.
        (1, {"visible": 25_000, "receive_ms": 200.0}, 5),
        (8, {"visible": 250_000, "receive_ms": 200.0}, 32),
        # Before a receive has brought anything, nothing changes.
        (10, {"visible": 90_000}, 10),
        (10, {}, 10),
        (10, {"visible": 0}, 9),
    ],
)
def test_how_many_pollers_are_needed(target: int, values: dict[str, Any], after: int) -> None:
    assert pollers_for(load(**values), target) == after


def test_a_pool_that_changed_rests_before_it_shrinks_and_not_before_it_grows() -> None:
    little = load(handling_ms=100.0)
    much = load(handling_ms=100.0, arrival_per_s=1_000.0)
    assert processors_for(little, since_up_s=9.0) == 10
    assert processors_for(little, since_down_s=9.0) == 10
    assert processors_for(little, since_up_s=10.0, since_down_s=10.0) == 9
    assert processors_for(much, since_up_s=0.0, since_down_s=0.0) == 40


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"arrival_per_s": 500.0, "handling_ms": 100.0},
            "500 messages/s of 100 ms each are needed",
        ),
        (
            {"buffered": (1, 0, 0), "handling_ms": 1.0, "oldest_age_s": 3.0},
            "messages are 3.0 s old and every place is taken",
        ),
        ({"buffered": (1, 0, 0)}, "every place is taken and no handler has ended yet"),
        ({"visible": 1}, "no handler has ended yet"),
    ],
)
def test_a_decision_about_processors_says_why(values: dict[str, Any], reason: str) -> None:
    target = POLICY.processors(seen(load(**values), processors=pool(10, busy=10)))
    assert target.reason == reason


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"arrival_per_s": 500.0, "receive_ms": 200.0},
            "500 messages/s are needed, 10 a receive of 200 ms",
        ),
        (
            {"visible": 50_000, "receive_ms": 2.0},
            "50000 messages are visible and places for them are free",
        ),
        ({}, "no receive has brought a message yet"),
    ],
)
def test_a_decision_about_pollers_says_why(values: dict[str, Any], reason: str) -> None:
    assert POLICY.pollers(seen(load(**values), pollers=pool(5))).reason == reason


def test_a_burst_of_quick_messages_is_gone_within_the_objective() -> None:
    worker = Simulation([(2_500, 20_000)], handling_ms=1).run(240)
    assert worker.completed == 20_000
    assert worker.oldest_s < 5
    assert worker.processors_after(0)[0] == 4
    assert turns(worker.processors_after(0)) <= 1
    assert turns(worker.pollers_after(0)) <= 1
    assert set(worker.processors_after(235)) == {4}
    assert set(worker.pollers_after(235)) == {1}


def test_a_burst_of_slow_messages_that_nobody_announced_is_gone_soon_after_it() -> None:
    """Attributes tell of it after 2.5 s, and the target rises four times a second at most."""
    worker = Simulation([(2_500, 20_000)], handling_ms=100).run(600)
    assert worker.completed == 20_000
    assert worker.oldest_s < 5 + 2.5
    assert max(worker.processors_after(0)) == 512
    assert turns(worker.processors_after(0)) <= 1
    assert set(worker.processors_after(595)) == {4}


def test_a_burst_that_the_most_processors_cannot_drain_in_time_has_all_of_them() -> None:
    worker = Simulation([(2_500, 20_000)], handling_ms=100, processors=(4, 64), capacity=128).run(
        40
    )
    # 640 a second, from the time that all are there.
    assert worker.completed == 20_000
    assert worker.oldest_s < 20_000 / 640 + 4
    assert turns(worker.processors_after(0)) <= 1


def test_an_idle_worker_stays_at_its_least() -> None:
    worker = Simulation([], handling_ms=100).run(300)
    assert set(worker.processors_after(0)) == {4}
    assert set(worker.pollers_after(0)) == {1}


def test_slow_receives_get_more_pollers() -> None:
    """500 a second by ten are 50 receives a second; of 200 ms that is 10 at a time."""
    slow = Simulation(evenly(500, 300), handling_ms=20, receive_ms=200).run(300)
    quick = Simulation(evenly(500, 300), handling_ms=20, receive_ms=5).run(300)
    assert slow.oldest_s < 5
    assert slow.oldest_after(60) < 1
    assert 10 <= slow.pollers_after(290)[0] <= 20
    assert quick.pollers_after(290)[0] <= 2
    assert turns(slow.pollers_after(0)) <= 1


def test_a_handler_of_unknown_time_gets_every_place_while_messages_wait() -> None:
    worker = Simulation([(0, 20_000)], handling_ms=1e9).run(60)
    assert worker.completed == 0
    assert worker.processors_after(10)[0] == 512
    assert turns(worker.processors_after(0)) == 0


@pytest.mark.parametrize("attributes_s", [5.0, None])
def test_an_uneven_stream_is_followed_without_going_up_and_down(
    attributes_s: float | None,
) -> None:
    random = Random(7)
    arrivals = [
        (ms, sum(random.random() < 0.25 for _ in range(40))) for ms in range(0, 300_000, 20)
    ]
    worker = Simulation(arrivals, handling_ms=100, attributes_s=attributes_s).run(300)
    settled = worker.processors_after(30)
    assert worker.oldest_s < 1
    assert min(settled) >= 50
    assert max(settled) <= 100
    assert turns(settled) <= 1
    assert turns(worker.pollers_after(30)) <= 1


def test_a_growing_stream_never_waits_for_the_objective() -> None:
    arrivals = [arrival for arrival in evenly(2_000, 60) if arrival[0] // 1000 > 0]
    arrivals = [(ms, number * ms // 60_000) for ms, number in arrivals]
    worker = Simulation(arrivals, handling_ms=100).run(90)
    assert worker.completed == sum(number for _, number in arrivals)
    assert worker.oldest_s < 5


def test_handlers_that_slow_down_are_given_more_places() -> None:
    """A database that answers four times slower from the thirtieth second on."""
    worker = Simulation(
        evenly(400, 120),
        handling_ms=lambda now_ms: 50 if now_ms < 30_000 else 200,
    ).run(120)
    assert worker.processors_after(25)[0] < 40
    assert worker.processors_after(60)[0] >= 80
    assert worker.oldest_s < 5
    assert turns(worker.processors_after(0)) <= 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("age_objective_s", 0, "age_objective_s is 0; it must be at least 0.1"),
        ("age_objective_s", float("nan"), "age_objective_s is nan; it must be at least 0.1"),
        ("headroom", 0.9, "headroom is 0.9; it must be at least 1"),
        ("growth_max", 0, "growth_max is 0; it must be at least 1"),
        ("cooldown_down_s", -1, "cooldown_down_s is -1; it must be at least 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        LittlesLaw(**{name: value})
