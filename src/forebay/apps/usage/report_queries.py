"""The questions of a report that SQLite and PostgreSQL both take, and what answers mean.

A value is written `:name`. Percentiles each store asks for in its own way; all are nearest ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from forebay.apps.usage.event_table import EventTable
from forebay.apps.usage.retention import Span
from forebay.apps.usage.store import KeyUsage, Latencies, Moment, Rate, Totals
from forebay.errors import SettingsError

Query = tuple[str, dict[str, object]]

#: All there is.
ALWAYS = Span(-(2**63), 2**63 - 1)

USAGE = (
    "SELECT api_key_id, sum(events), max(last_ms) FROM current_usage"
    " GROUP BY api_key_id ORDER BY 2 DESC, 1 LIMIT :limit"
)


def totals_query(tables: Iterable[EventTable]) -> str:
    """One statement, so that all its numbers are of one moment."""
    rows = " + ".join(
        f"(SELECT count(*) FROM {each.table})"  # noqa: S608 - tables of ours
        for each in tables
        if each.counted is not None
    )
    return (
        f"SELECT {rows}, "  # noqa: S608
        "(SELECT coalesce(sum(events), 0) FROM current_usage),"
        " (SELECT count(*) FROM usage_rejects), (SELECT count(*) FROM usage_packs)"
    )


def require_step(step_ms: int) -> None:
    """Raises SettingsError for a step that is none."""
    if step_ms < 1:
        raise SettingsError(f"step_ms is {step_ms}; it must be 1 or more.")


def rates_query(step_ms: int, span: Span | None) -> Query:
    """Raises SettingsError for a step that is none."""
    require_step(step_ms)
    span = span or ALWAYS
    return (
        "SELECT at_ms / :step_ms * :step_ms, count(*) FROM usage_logs"
        " WHERE at_ms >= :from_ms AND at_ms < :to_ms GROUP BY 1 ORDER BY 1",
        {"step_ms": step_ms, "from_ms": span.from_ms, "to_ms": span.to_ms},
    )


def as_totals(row: Sequence[Any]) -> Totals:
    return Totals(*map(int, row))


def as_usage(rows: Iterable[Sequence[Any]]) -> list[KeyUsage]:
    return [KeyUsage(key, int(events), last_ms) for key, events, last_ms in rows]


def as_latencies(rows: Iterable[Sequence[Any]]) -> list[Latencies]:
    return [Latencies(name, *map(int, numbers)) for name, *numbers in rows]


def as_moments(rows: Iterable[Sequence[Any]]) -> list[Moment]:
    return [
        Moment(at_ms, as_latencies(row[1:] for row in step))
        for at_ms, step in groupby(rows, key=itemgetter(0))
    ]


def as_rates(rows: Iterable[Sequence[Any]]) -> list[Rate]:
    return [Rate(at_ms, rows_) for at_ms, rows_ in rows]
