"""Percentiles of what was measured."""

from __future__ import annotations

import pytest

from bench.percentiles import percentile


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 51), (99, 100), (99.9, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile(range(100, 0, -1), percent) == value
