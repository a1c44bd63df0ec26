"""Percentiles of what was measured."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of them do not exceed."""
    return of_sorted(sorted(values), percent)


def of_sorted(ordered: Sequence[float], percent: float) -> float:
    """As percentile, of values in ascending order."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
