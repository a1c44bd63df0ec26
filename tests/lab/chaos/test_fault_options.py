"""Faults of a command line, and what is said of those that are none."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.errors import SettingsError
from forebay.fault_injection import FaultRates
from forebay.lab.chaos.fault_options import with_faults


@pytest.mark.parametrize(
    ("option", "fields"),
    [
        ("duplicate=0.1", {"duplicate": 0.1}),
        ("duplicate=1", {"duplicate": 1.0}),
        ("duplicate=0", {"duplicate": 0.0}),
        ("reorder=.3", {"reorder": 0.3}),
        ("drop-reply=0.05", {"lose_reply": 0.05}),
        ("purge-loses=1.0", {"purge_loses": 1.0}),
        ("delay=200ms", {"latency_ms": 200.0, "late": 1.0}),
        ("delay=1.5s", {"latency_ms": 1500.0, "late": 1.0}),
        ("delay=2m,probability:0.3", {"latency_ms": 120_000.0, "late": 0.3}),
        ("throttle=20/s", {"calls_per_second": 20}),
        ("throttle=0.2", {"throttle": 0.2}),
        ("partition=every:30s,for:5s", {"partition_every_s": 30.0, "partition_for_s": 5.0}),
        ("partition=for:500ms,every:1m", {"partition_every_s": 60.0, "partition_for_s": 0.5}),
    ],
)
def test_faults_that_can_be_asked_for(option: str, fields: dict[str, Any]) -> None:
    assert with_faults(FaultRates(), [option]) == FaultRates(**fields)


PROBABILITY = "a probability from 0 to 1, such as 0.1"


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("duplicate=1.1", f"--fault duplicate=1.1: duplicate is {PROBABILITY}"),
        ("reorder=-0.1", f"--fault reorder=-0.1: reorder is {PROBABILITY}"),
        ("drop-reply=often", f"--fault drop-reply=often: drop-reply is {PROBABILITY}"),
        ("purge-loses=nan", f"--fault purge-loses=nan: purge-loses is {PROBABILITY}"),
        ("duplicate", f"--fault duplicate: duplicate is {PROBABILITY}"),
        ("delay=200", "--fault delay=200: delay is a time, such as 200ms or 2s"),
        ("delay=", "--fault delay=: delay is a time"),
        ("delay=2s,probability:2", "delay is a time"),
        ("delay=2s,chance:0.2", "delay is a time"),
        ("throttle=0/s", "throttle is calls of one action to one queue in a second, such as 20/s"),
        ("throttle=2/m", "throttle is calls"),
        ("throttle=2", "throttle is calls"),
        ("partition=every:30s", "partition is a span and a shorter time in each"),
        ("partition=every:5s,for:5s", "partition is a span"),
        ("partition=every:5s,for:0s", "partition is a span"),
        ("partition=30s,5s", "partition is a span"),
        ("drop=0.1", "--fault drop=0.1: there is no fault 'drop'. There are duplicate, delay, re"),
        ("", "--fault : there is no fault ''. There are duplicate"),
    ],
)
def test_faults_that_are_refused(option: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        with_faults(FaultRates(), [option])
    assert complaint in str(refused.value)


def test_options_go_before_what_was_there_and_the_last_goes_before_the_others() -> None:
    rates = FaultRates(seed=7, duplicate=0.5, reorder=0.5)
    assert with_faults(rates, ["duplicate=0.1", "duplicate=0.2"]) == FaultRates(
        seed=7, duplicate=0.2, reorder=0.5
    )
