"""A clock that runs faster, and what the environment says of it."""

from __future__ import annotations

import asyncio

import pytest

from forebay.clock import ManualClock, SystemClock
from forebay.errors import SettingsError
from forebay.scaled_clock import ORIGIN_MS_DEFAULT, ScaledClock, clock_of

ORIGIN_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("scale", "real_ms", "scaled_ms"), [(10, 1_500, 15_000), (0.5, 1_500, 750), (1, 7, 7)]
)
def test_a_second_of_the_machine_is_as_many_as_the_scale_says(
    scale: float, real_ms: int, scaled_ms: int
) -> None:
    machine = ManualClock(ORIGIN_MS)
    clock = ScaledClock(scale, ORIGIN_MS, real=machine)
    monotonic_ms = clock.monotonic_ms()
    machine.advance(real_ms)
    assert clock.wall_ms() == ORIGIN_MS + scaled_ms
    assert clock.monotonic_ms() - monotonic_ms == scaled_ms


def test_clocks_of_one_origin_agree_whenever_they_were_made() -> None:
    machine = ManualClock(ORIGIN_MS)
    early = ScaledClock(10, ORIGIN_MS, real=machine)
    machine.advance(60_000)
    late = ScaledClock(10, ORIGIN_MS, real=machine)
    assert early.wall_ms() == late.wall_ms()


def test_without_an_origin_it_starts_at_the_machines_time() -> None:
    machine = ManualClock(ORIGIN_MS)
    assert ScaledClock(10, real=machine).wall_ms() == ORIGIN_MS


async def test_a_sleep_takes_as_much_less_of_the_machines_time() -> None:
    machine = ManualClock(ORIGIN_MS)
    sleeping = asyncio.ensure_future(ScaledClock(10, ORIGIN_MS, real=machine).sleep(30))
    await asyncio.sleep(0)
    machine.advance(2_999)
    await asyncio.sleep(0)
    assert not sleeping.done()
    machine.advance(1)
    await sleeping


@pytest.mark.parametrize("scale", [0, -1, 0.000_9, 100_001, float("nan"), float("inf")])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(SettingsError, match=r"must be a number from 0\.001 to 100,000"):
        ScaledClock(scale)


@pytest.mark.parametrize("scale", [None, "", "1", "1.0"])
def test_without_a_scale_it_is_the_machines_clock(scale: str | None) -> None:
    environment = {} if scale is None else {"FOREBAY_TIME_SCALE": scale}
    assert isinstance(clock_of(environment), SystemClock)


def test_programs_that_are_told_no_origin_share_one() -> None:
    clock = clock_of({"FOREBAY_TIME_SCALE": "10"})
    assert isinstance(clock, ScaledClock)
    assert (clock.scale, clock.origin_ms) == (10, ORIGIN_MS_DEFAULT)


def test_the_origin_is_read_from_the_environment() -> None:
    clock = clock_of({"FOREBAY_TIME_SCALE": " 2.5 ", "FOREBAY_TIME_ORIGIN_MS": str(ORIGIN_MS)})
    assert isinstance(clock, ScaledClock)
    assert (clock.scale, clock.origin_ms) == (2.5, ORIGIN_MS)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"FOREBAY_TIME_SCALE": "fast"}, "FOREBAY_TIME_SCALE is 'fast'; it must be a number from"),
        ({"FOREBAY_TIME_SCALE": "0"}, "FOREBAY_TIME_SCALE is '0'; it must be a number from"),
        ({"FOREBAY_TIME_SCALE": "nan"}, "FOREBAY_TIME_SCALE is 'nan'"),
        (
            {"FOREBAY_TIME_SCALE": "10", "FOREBAY_TIME_ORIGIN_MS": "today"},
            "FOREBAY_TIME_ORIGIN_MS is 'today'; it must be a whole number of milliseconds",
        ),
        ({"FOREBAY_TIME_ORIGIN_MS": "-1"}, "FOREBAY_TIME_ORIGIN_MS is '-1'"),
    ],
)
def test_what_the_environment_says_wrong_is_named(environment: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        clock_of(environment)
