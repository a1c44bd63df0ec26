"""A circuit breaker: its table, when it opens and closes, and what says nothing of a handler."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import InvalidTransition, SettingsError
from forebay.worker.breaker import TRANSITIONS, CircuitBreaker, Event, State, transition
from forebay.worker.outcomes import (
    Done,
    Failed,
    Interrupted,
    Outcome,
    Reject,
    Retry,
    StillRunning,
)

FAILED = Failed(RuntimeError("no connection"))


@pytest.fixture(name="unfinished")
def an_unfinished_handler() -> Iterator[asyncio.Future[Outcome]]:
    loop = asyncio.new_event_loop()
    yield loop.create_future()
    loop.close()


def end(breaker: CircuitBreaker, outcome: Outcome, now_ms: int) -> None:
    """A call that starts and ends at this moment."""
    assert breaker.wait_ms(now_ms) == 0
    breaker.started(now_ms)
    breaker.record(outcome, started_ms=now_ms, now_ms=now_ms)


def an_open_breaker(now_ms: int = 1_000, probes: int = 1) -> CircuitBreaker:
    breaker = CircuitBreaker(0.5, of=4, open_s=30, probes=probes)
    for _ in range(4):
        end(breaker, FAILED, now_ms)
    assert breaker.state(now_ms) is State.OPEN
    return breaker


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_only_what_the_table_has_can_happen(state: State, event: Event) -> None:
    expected = {
        (State.CLOSED, Event.RATE_REACHED): State.OPEN,
        (State.OPEN, Event.TIME_OVER): State.HALF_OPEN,
        (State.HALF_OPEN, Event.PROBE_FAILED): State.OPEN,
        (State.HALF_OPEN, Event.PROBES_SUCCEEDED): State.CLOSED,
    }.get((state, event))
    assert TRANSITIONS.get((state, event)) == expected
    if expected is not None:
        assert transition(state, event) is expected
    else:
        with pytest.raises(InvalidTransition, match=f"is {state.value} got {event.value}"):
            transition(state, event)


@pytest.mark.parametrize(
    ("failure_rate", "of", "outcomes", "opens_after"),
    [
        (0.5, 4, "++--", 4),
        (0.5, 4, "-+-+", 4),
        (0.5, 4, "+++-+++-+++-", None),
        # Only the latest count, and only once there are enough.
        (0.5, 4, "--+", None),
        (0.5, 4, "++++++--", 8),
        (0.5, 4, "-+++++-+-", 9),
        # A rate of 0.7 of 10 is 7, whatever the rounding of floats.
        (0.7, 10, "---------", None),
        (0.7, 10, "+++-------", 10),
        (0.7, 10, "++++------", None),
        (0.01, 2, "+-", 2),
        (1.0, 2, "+-+--", 5),
        (1.0, 1, "+-", 2),
    ],
)
def test_it_opens_when_as_many_of_the_latest_calls_failed(
    failure_rate: float, of: int, outcomes: str, opens_after: int | None
) -> None:
    breaker = CircuitBreaker(failure_rate, of=of)
    for number, outcome in enumerate(outcomes, start=1):
        end(breaker, FAILED if outcome == "-" else Done(), now_ms=number)
        opened = breaker.state(number) is State.OPEN
        assert opened is (number == opens_after)
        if opened:
            break


def test_by_default_it_opens_at_half_of_twenty_for_half_a_minute() -> None:
    breaker = CircuitBreaker()
    for _ in range(10):
        end(breaker, Done(), 0)
    for _ in range(10):
        end(breaker, FAILED, 0)
    assert breaker.wait_ms(0) == 30_000
    assert breaker.reason == "open: at least 10 of 20 calls failed"


def test_nothing_starts_while_it_is_open_and_one_call_after_that() -> None:
    breaker = an_open_breaker(now_ms=1_000)
    assert breaker.wait_ms(1_000) == 30_000
    assert breaker.wait_ms(30_999) == 1
    assert breaker.state(31_000) is State.HALF_OPEN
    assert breaker.wait_ms(31_000) == 0
    breaker.started(31_000)
    assert breaker.wait_ms(31_500) == 29_500


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = an_open_breaker(now_ms=0)
    end(breaker, Done(), 30_000)
    assert breaker.state(30_000) is State.CLOSED
    assert breaker.reason == "closed"
    # What failed before does not count any more.
    for _ in range(3):
        end(breaker, FAILED, 30_001)
    assert breaker.state(30_001) is State.CLOSED


def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    breaker = an_open_breaker(now_ms=0)
    end(breaker, FAILED, 30_000)
    assert breaker.wait_ms(30_000) == 30_000
    end(breaker, Done(), 60_000)
    assert breaker.state(60_000) is State.CLOSED


def test_it_closes_after_as_many_probes_in_a_row_as_asked_for() -> None:
    breaker = an_open_breaker(now_ms=0, probes=2)
    end(breaker, Done(), 30_000)
    assert breaker.state(30_000) is State.HALF_OPEN
    end(breaker, FAILED, 30_001)
    end(breaker, Done(), 70_000)
    end(breaker, Done(), 70_001)
    assert breaker.state(70_001) is State.CLOSED


def test_a_probe_that_says_nothing_makes_room_for_another() -> None:
    breaker = an_open_breaker(now_ms=0)
    end(breaker, Retry(5), 30_000)
    end(breaker, Interrupted(), 30_001)
    assert breaker.state(30_001) is State.HALF_OPEN
    assert breaker.wait_ms(30_001) == 0


def test_a_probe_whose_result_never_comes_is_given_up() -> None:
    breaker = an_open_breaker(now_ms=0)
    breaker.started(30_000)
    assert breaker.wait_ms(59_999) == 1
    assert breaker.free(59_999) == 0
    assert breaker.wait_ms(60_000) == 0
    assert breaker.free(60_000) == 1
    breaker.started(60_000)
    assert breaker.wait_ms(60_000) == 30_000


def test_a_call_from_before_the_change_says_nothing_of_the_state_after_it() -> None:
    breaker = an_open_breaker(now_ms=1_000)
    breaker.record(Done(), started_ms=900, now_ms=2_000)
    assert breaker.state(2_000) is State.OPEN
    assert breaker.state(31_000) is State.HALF_OPEN
    breaker.record(Done(), started_ms=900, now_ms=31_001)
    assert breaker.state(31_001) is State.HALF_OPEN
    end(breaker, Done(), 31_002)
    for _ in range(4):
        breaker.record(FAILED, started_ms=900, now_ms=31_003)
    assert breaker.state(31_003) is State.CLOSED


def test_what_counts_as_a_failure_of_the_handler(unfinished: asyncio.Future[Outcome]) -> None:
    for outcome, opens in (
        (FAILED, True),
        (StillRunning(unfinished, timed_out=True), True),
        (StillRunning(unfinished, timed_out=False), False),
        (Done(), False),
        (Reject("no such customer"), False),
        (Retry(5), False),
        (Interrupted(), False),
    ):
        breaker = CircuitBreaker(1.0, of=1)
        end(breaker, outcome, 0)
        assert (breaker.state(0) is State.OPEN) is opens, outcome


def test_a_retry_takes_no_place_among_the_latest_calls() -> None:
    breaker = CircuitBreaker(0.5, of=2)
    for outcome in (FAILED, Retry(1), Retry(1), FAILED):
        end(breaker, outcome, 0)
    assert breaker.state(0) is State.OPEN


def test_as_a_permit_it_holds_back_the_queues_of_its_handlers() -> None:
    breaker = CircuitBreaker(1.0, of=1, name="stripe")
    assert breaker.free(0) is None
    breaker.queues.add("orders")
    end(breaker, FAILED, 0)
    assert breaker.free(29_999) == 0
    assert breaker.free(30_000) == 1
    breaker.started(30_000)
    assert breaker.free(30_000) == 0


@given(steps=st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=100))
def test_it_never_lets_two_probes_run_and_always_comes_back(
    steps: list[tuple[int, bool]],
) -> None:
    breaker = CircuitBreaker(0.5, of=3, open_s=1)
    now_ms = 0
    for after_ms, good in steps:
        now_ms += after_ms
        wait_ms = breaker.wait_ms(now_ms)
        assert 0 <= wait_ms <= 1_000
        if wait_ms:
            assert breaker.state(now_ms) is State.OPEN
            now_ms += wait_ms
            assert breaker.wait_ms(now_ms) == 0
        breaker.started(now_ms)
        if breaker.state(now_ms) is State.HALF_OPEN:
            assert breaker.wait_ms(now_ms) > 0
        breaker.record(Done() if good else FAILED, started_ms=now_ms, now_ms=now_ms)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"failure_rate": 0}, "failure_rate is 0; it must be above 0, at most 1"),
        ({"failure_rate": 50}, "failure_rate is 50; it must be above 0, at most 1"),
        ({"of": 0}, "of is 0; it must be at least 1"),
        ({"open_s": 0}, "open_s is 0; it must be above 0"),
        ({"open_s": float("nan")}, "open_s is nan; it must be above 0"),
        ({"probes": 0}, "probes is 0; it must be at least 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        CircuitBreaker(**values)  # type: ignore[arg-type]
