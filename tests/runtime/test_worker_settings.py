"""Settings that make sense."""

from __future__ import annotations

import pytest

from forebay.errors import SettingsError
from forebay.worker import WorkerSettings


@pytest.mark.parametrize(
    ("name", "value", "reach"),
    [
        ("concurrency", 0, "from 1 to 100,000"),
        ("batch", 11, "from 1 to 10"),
        ("wait_s", 21, "from 0 to 20"),
        ("visibility_timeout_s", 43_201, "from 1 to 43,200"),
        ("heartbeat_fraction", 1.0, "from 0.1 to 0.9"),
        ("backoff_max_s", 43_201, "from 0 to 43,200"),
        ("drain_timeout_s", -1, "from 0 to 86,400"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: float, reach: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is {value}; it must be {reach}"):
        WorkerSettings(**{name: value})  # type: ignore[arg-type]
