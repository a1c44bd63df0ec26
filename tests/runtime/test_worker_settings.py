"""Settings that make sense, and how long a failure waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import SettingsError
from forebay.worker import WorkerSettings
from forebay.worker.backoff import backoff_s, jitter


@pytest.mark.parametrize(
    ("name", "value", "reach"),
    [
        ("concurrency", 0, "at least 1"),
        ("batch", 11, "from 1 to 10"),
        ("wait_s", 21, "from 0 to 20"),
        ("visibility_timeout_s", 43_201, "from 1 to 43200"),
        ("heartbeat_fraction", 1.0, "from 0.1 to 0.9"),
        ("backoff_max_s", 0.5, "from 1.0 to 43200"),
        ("drain_timeout_s", -1, "at least 0"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: float, reach: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is {value}; it must be {reach}"):
        WorkerSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attempt", "jitter", "delay_s"),
    [
        # Base 2 s, maximum 60 s.
        (1, 0.0, 1.0),
        (1, 0.5, 1.5),
        (2, 0.0, 2.0),
        (3, 0.5, 6.0),
        (5, 0.0, 16.0),
        (6, 0.0, 30.0),
        (1000, 0.0, 30.0),
        (1000, 0.5, 45.0),
    ],
)
def test_a_backoff_doubles_up_to_its_maximum(attempt: int, jitter: float, delay_s: float) -> None:
    assert backoff_s(attempt, jitter, base_s=2, max_s=60) == delay_s


@given(attempt=st.integers(1, 10_000), random=st.binary(min_size=4, max_size=4))
def test_a_backoff_lies_between_half_and_the_whole_of_its_bound(
    attempt: int, random: bytes
) -> None:
    bound_s = min(300.0, 2.0 ** (attempt - 1)) if attempt < 100 else 300.0
    delay_s = backoff_s(attempt, jitter(lambda count: random[:count]), base_s=1, max_s=300)
    assert bound_s / 2 <= delay_s < bound_s
