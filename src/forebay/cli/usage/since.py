"""From when on a report is: so long ago, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from forebay.errors import SettingsError

_AGO = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)")
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment_of(since: str, now_ms: int) -> int:
    """The moment that is meant, in milliseconds since the Unix epoch.

    `since` is a time that has passed by now, such as 90s, 15m, 2h or 7d, or a date, with or without
    a time of day, in ISO 8601 and in UTC unless it has an offset. Raises SettingsError.
    """
    ago = _AGO.fullmatch(since)
    if ago is not None:
        # Longer ago than all time may be infinitely long ago.
        return round(max(0, now_ms - float(ago[1]) * _UNITS_MS[ago[2]]))
    try:
        named = datetime.fromisoformat(since)
        if named.tzinfo is None:
            named = named.replace(tzinfo=UTC)
        moment_ms = round(named.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise SettingsError(
            f"--since {since} is no time. Write 90s, 15m, 2h or 7d, or a date such as 2026-05-02 or"
            " 2026-05-02T15:30Z."
        ) from None
    if moment_ms >= now_ms:
        raise SettingsError(f"--since {since} is not in the past.")
    return max(0, moment_ms)
