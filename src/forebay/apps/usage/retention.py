"""How long what the usage store keeps is kept, and which events are taken in."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers

#: Milliseconds of a day. Days are those of UTC.
DAY_MS = 86_400_000

#: Longest that SQS keeps a message, in a queue and then in its dead-letter queue, in days.
#: Source: MessageRetentionPeriod of SetQueueAttributes is at most 14 days.
_IN_SQS_DAYS = 28

#: How far a clock may be off, in days: of a producer that is ahead, and of the process that drops.
_CLOCKS_DAYS = 1


class Span(Struct, frozen=True):
    """From a moment up to before another, in milliseconds since the Unix epoch."""

    from_ms: int
    to_ms: int


class Retention(Struct, frozen=True):
    """For how many days things are kept. Raises SettingsError when a number is out of range."""

    #: Events, by when they were made.
    events_days: int = 90
    #: The ids of messages that were written: packs by when they were written, plain envelopes by
    #: when they were made. An event that is older than this is not taken in, because nothing knows
    #: any more whether it is there.
    ids_days: int = 35
    #: Events that could not be written, by when that was.
    rejects_days: int = 90

    def __post_init__(self) -> None:
        require_numbers(self)
        for name in ("events_days", "rejects_days"):
            if getattr(self, name) <= _CLOCKS_DAYS:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be 2 or more.")
        if self.ids_days <= _IN_SQS_DAYS:
            raise SettingsError(
                f"ids_days is {self.ids_days}; it must be more than {_IN_SQS_DAYS}: a message can"
                " come again after 14 days in its queue and 14 in the dead-letter queue."
            )

    def taken_in(self, now_ms: int) -> Span:
        """When an event that is taken in now may have been made.

        The ids of a message outlive this span by as much as its newest event may be ahead of the
        clock: so whatever is taken in can be told from what is there already.
        """
        days = min(self.events_days, self.ids_days) - _CLOCKS_DAYS
        return Span(now_ms - days * DAY_MS, now_ms + _CLOCKS_DAYS * DAY_MS)


def day_of(at_ms: int) -> int:
    """The day of a moment, as its number since the Unix epoch."""
    return at_ms // DAY_MS


def day_name(day: int) -> str:
    """A day as it is written: 2026-11-28."""
    return datetime.fromtimestamp(day * DAY_MS // 1000, UTC).strftime("%Y-%m-%d")


def days_ago_ms(now_ms: int, days: int) -> int:
    """When the day that was so many days ago began."""
    return (day_of(now_ms) - days) * DAY_MS
