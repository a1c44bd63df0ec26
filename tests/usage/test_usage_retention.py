"""What is kept, for how long, and what happens to it then."""

from __future__ import annotations

import pytest

from forebay.apps.usage.retention import Retention, Span
from forebay.errors import SettingsError
from tests.usage.events import DAY_MS, NOON_MS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"events_days": 1}, "events_days is 1; it must be 2 or more"),
        ({"rejects_days": 0}, "rejects_days is 0; it must be 2 or more"),
        ({"ids_days": 28}, "ids_days is 28; it must be more than 28"),
        ({"events_days": "9"}, "events_days is '9'; it must be a whole number"),
    ],
)
def test_what_is_kept_too_short_is_refused(given: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Retention(**given)


@pytest.mark.parametrize(("kept", "days"), [(Retention(), 34), (Retention(events_days=10), 9)])
def test_nothing_is_taken_in_that_would_be_dropped_or_not_be_recognized(
    kept: Retention, days: int
) -> None:
    assert kept.taken_in(NOON_MS) == Span(NOON_MS - days * DAY_MS, NOON_MS + DAY_MS)
