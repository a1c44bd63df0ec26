from __future__ import annotations

import pytest

from forebay.cli.usage.since import moment_of
from forebay.errors import SettingsError

#: 2026-05-02T15:30:00Z.
NOW_MS = 1_777_735_800_000


@pytest.mark.parametrize(
    ("since", "ago_ms"),
    [
        ("90s", 90_000),
        ("1.5h", 5_400_000),
        ("15m", 900_000),
        ("7d", 7 * 86_400_000),
        ("99999999d", NOW_MS),
        ("9" * 400 + "d", NOW_MS),
        ("2026-05-02", 55_800_000),
        ("2026-05-02T15:00", 1_800_000),
        ("2026-05-02T15:00Z", 1_800_000),
        ("2026-05-02T15:00+02:00", 9_000_000),
    ],
)
def test_a_time_is_so_long_ago_or_named(since: str, ago_ms: int) -> None:
    assert moment_of(since, NOW_MS) == NOW_MS - ago_ms


@pytest.mark.parametrize("since", ["", "5", "h", "-1h", "yesterday", "1h2m", "2026-13-01", "٣h"])
def test_what_is_no_time_is_refused_with_what_is(since: str) -> None:
    with pytest.raises(SettingsError, match=r"is no time\. Write 90s"):
        moment_of(since, NOW_MS)


def test_the_future_cannot_be_reported() -> None:
    with pytest.raises(SettingsError, match="not in the past"):
        moment_of("2027-01-01", NOW_MS)
