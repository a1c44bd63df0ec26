"""Percentiles of response times in PostgreSQL.

Its own function sorts numbers alone: counting by group and time first sorts the groups' names with
them, which takes five times as long where hardly two times are the same.
"""

from __future__ import annotations

from forebay.apps.usage.report_queries import ALWAYS, Query, require_step
from forebay.apps.usage.retention import Span
from forebay.apps.usage.store import By

#: The figures of Latencies: the rows of a group, and nearest ranks of their response times.
_FIGURES = """count(*) AS total, percentile_disc(ARRAY[0.5, 0.9, 0.99, 0.999, 1])
            WITHIN GROUP (ORDER BY response_time_us) AS us"""

_COLUMNS = "name, total, us[1], us[2], us[3], us[4], us[5]"


def latencies_query(by: By, span: Span | None, limit: int) -> Query:
    span = span or ALWAYS
    text = f"""
        WITH measured AS (
            SELECT {by} AS name, {_FIGURES} FROM usage_logs
            WHERE at_ms >= :from_ms AND at_ms < :to_ms GROUP BY 1
        )
        SELECT {_COLUMNS} FROM measured ORDER BY total DESC, name LIMIT :limit
        """  # noqa: S608 - the name is one of an enumeration
    return text, {"from_ms": span.from_ms, "to_ms": span.to_ms, "limit": limit}


def latencies_over_time_query(by: By, step_ms: int, span: Span | None) -> Query:
    """All steps in one reading of the rows. Raises SettingsError for a step that is none."""
    require_step(step_ms)
    span = span or ALWAYS
    text = f"""
        WITH measured AS (
            SELECT at_ms / :step_ms * :step_ms AS step, {by} AS name, {_FIGURES} FROM usage_logs
            WHERE at_ms >= :from_ms AND at_ms < :to_ms GROUP BY 1, 2
        )
        SELECT step, {_COLUMNS} FROM measured ORDER BY step, total DESC, name
        """  # noqa: S608 - the name is one of an enumeration
    return text, {"step_ms": step_ms, "from_ms": span.from_ms, "to_ms": span.to_ms}
