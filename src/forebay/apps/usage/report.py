"""What a usage report says, asked of any store: who used what, how long it took, and when."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from forebay.apps.usage.retention import Span
from forebay.apps.usage.store import By, KeyUsage, Latencies, Moment, Totals, UsageStore

#: Groups that are shown, those with most usage logs.
GROUPS_MAX = 20

#: In how many parts a span is looked through for where it has any usage logs.
_PARTS = 1_000

#: Shortest part, in milliseconds.
_PART_MS_MIN = 250

#: Most moments of a report.
_MOMENTS_MAX = 80

#: How far moments may be apart, in milliseconds: what people find on a clock.
_STEPS_MS = (
    *(250, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000),
    *(900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000),
)


class UsageReport(Struct, frozen=True, kw_only=True):
    """The usage logs of a span, and what the counters say of all days."""

    #: From the first to the last part of what was asked for that has usage logs.
    span: Span
    #: Usage logs in it.
    rows: int
    #: All that is kept, whenever it was made.
    totals: Totals
    #: The keys that used most, by their counters.
    keys: list[KeyUsage]
    #: By what usage logs were grouped, and the groups with most of them.
    groups: dict[By, list[Latencies]]
    step_ms: int
    #: The cache tiers in each step.
    moments: list[Moment]


async def gather_report(store: UsageStore, span: Span) -> UsageReport:
    """Ask a store for all of it. Raises StoreError."""
    span, rows = await _inhabited(store, span)
    step_ms = step_for(span)
    return UsageReport(
        span=span,
        rows=rows,
        totals=await store.totals(),
        keys=await store.usage(limit=GROUPS_MAX),
        groups={by: await store.latencies(by, span, limit=GROUPS_MAX) for by in By},
        step_ms=step_ms,
        moments=_without_gaps(
            await store.latencies_over_time(By.CACHE_TIER, step_ms, span), step_ms
        ),
    )


def _without_gaps(moments: Sequence[Moment], step_ms: int) -> list[Moment]:
    """With an empty moment for each step between them that has no usage logs."""
    if not moments:
        return []
    found = {moment.at_ms: moment for moment in moments}
    steps = range(moments[0].at_ms, moments[-1].at_ms + 1, step_ms)
    return [found.get(at_ms) or Moment(at_ms, []) for at_ms in steps]


async def _inhabited(store: UsageStore, span: Span) -> tuple[Span, int]:
    """The part of a span that has usage logs, to a thousandth of it, and how many there are."""
    while True:
        part_ms = max(_PART_MS_MIN, (span.to_ms - span.from_ms) // _PARTS)
        parts = await store.rates(part_ms, span)
        if not parts:
            return span, 0
        inner = Span(max(span.from_ms, parts[0].at_ms), min(span.to_ms, parts[-1].at_ms + part_ms))
        if part_ms == _PART_MS_MIN or 2 * (inner.to_ms - inner.from_ms) > span.to_ms - span.from_ms:
            return inner, sum(part.rows for part in parts)
        span = inner


def step_for(span: Span) -> int:
    """How far the moments of a span are apart, in milliseconds."""
    least_ms = (span.to_ms - span.from_ms) / _MOMENTS_MAX
    days = -(-least_ms // _STEPS_MS[-1])
    return next((each for each in _STEPS_MS if each >= least_ms), int(days) * _STEPS_MS[-1])


def readable_us(duration_us: float) -> str:
    """A time for people, in the largest unit of which there is one."""
    for unit, length_us in (("s", 1_000_000), ("ms", 1_000)):
        if duration_us >= length_us:
            return f"{_digits(duration_us / length_us)} {unit}"
    return f"{duration_us:,.0f} µs"


def readable_rate(per_second: float) -> str:
    """A rate for people."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def _digits(number: float) -> str:
    """Three digits, or all of a whole number."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
