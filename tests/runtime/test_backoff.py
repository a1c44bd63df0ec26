"""How long a failure waits before the next attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.backoff import backoff_s, jitter


@pytest.mark.parametrize(
    ("attempt", "jitter", "delay_s"),
    [
        # Base 2 s, maximum 60 s.
        (1, 0.0, 0.0),
        (1, 0.5, 1.0),
        (2, 0.5, 2.0),
        (3, 0.75, 6.0),
        (5, 0.5, 16.0),
        (6, 0.5, 30.0),
        (1000, 0.0, 0.0),
        (1000, 0.5, 30.0),
    ],
)
def test_a_backoff_is_drawn_below_a_bound_that_doubles(
    attempt: int, jitter: float, delay_s: float
) -> None:
    assert backoff_s(attempt, jitter, base_s=2, max_s=60) == delay_s


@given(attempt=st.integers(1, 10_000), random=st.binary(min_size=4, max_size=4))
def test_a_backoff_never_reaches_its_bound(attempt: int, random: bytes) -> None:
    bound_s = min(300.0, 2.0 ** (attempt - 1)) if attempt < 100 else 300.0
    delay_s = backoff_s(attempt, jitter(lambda count: random[:count]), base_s=1, max_s=300)
    assert 0 <= delay_s < bound_s


def test_jitter_reaches_from_nothing_to_just_below_one() -> None:
    assert jitter(lambda count: b"\x00" * count) == 0.0
    assert 0.999_999 < jitter(lambda count: b"\xff" * count) < 1.0
