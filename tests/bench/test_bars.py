"""What the benchmarks say of what was asked for."""

from __future__ import annotations

from bench.bars import Bar


def test_a_bar_says_whether_it_was_held() -> None:
    assert Bar("calls/s", 1_000_000, 1_200_000.0).verdict == (
        "calls/s ≥ 1,000,000: 1,200,000.0  held"
    )
    assert Bar("calls/s", 1_000_000, 999_999.0).verdict.endswith("MISSED")


def test_of_some_bars_less_is_better() -> None:
    assert Bar("p99.9 in µs", 20, 19.9, at_most=True).verdict == "p99.9 in µs ≤ 20: 19.9  held"
    assert Bar("p99.9 in µs", 20, 20.1, at_most=True).missed
    assert not Bar("lost", 0, 0, at_most=True).missed


def test_what_was_not_measured_is_neither() -> None:
    bar = Bar("calls/s", 10, None)
    assert not bar.missed
    assert bar.verdict == "calls/s ≥ 10: not measured"
