"""Percentiles of response times in SQLite, which has no function for them everywhere.

Rows are counted by group and response time first, and only those of the largest groups: nothing as
long as the table is sorted.
"""

from __future__ import annotations

from forebay.apps.usage.report_queries import ALWAYS, Query, require_step
from forebay.apps.usage.retention import Span
from forebay.apps.usage.store import By

#: Of ranked response times: how many rows, and the figures of Latencies.
_PERCENTILES = """max(total),
            min(CASE WHEN rank * 2 >= total THEN us END),
            min(CASE WHEN rank * 10 >= total * 9 THEN us END),
            min(CASE WHEN rank * 100 >= total * 99 THEN us END),
            min(CASE WHEN rank * 1000 >= total * 999 THEN us END),
            max(us)"""


def latencies_query(by: By, span: Span | None, limit: int) -> Query:
    span = span or ALWAYS
    text = f"""
        WITH largest AS (
            SELECT {by} AS name FROM usage_logs
            WHERE at_ms >= :from_ms AND at_ms < :to_ms
            GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT :limit
        ), counted AS (
            SELECT {by} AS name, response_time_us AS us, count(*) AS n FROM usage_logs
            WHERE at_ms >= :from_ms AND at_ms < :to_ms AND {by} IN (SELECT name FROM largest)
            GROUP BY 1, 2
        ), ranked AS (
            SELECT name, us,
                sum(n) OVER (PARTITION BY name ORDER BY us) AS rank,
                sum(n) OVER (PARTITION BY name) AS total
            FROM counted
        )
        SELECT name, {_PERCENTILES}
        FROM ranked GROUP BY name ORDER BY 2 DESC, 1
        """  # noqa: S608 - the name is one of an enumeration
    return text, {"from_ms": span.from_ms, "to_ms": span.to_ms, "limit": limit}


def latencies_over_time_query(by: By, step_ms: int, span: Span | None) -> Query:
    """All steps in one reading of the rows. Raises SettingsError for a step that is none."""
    require_step(step_ms)
    span = span or ALWAYS
    text = f"""
        WITH counted AS (
            SELECT at_ms / :step_ms * :step_ms AS step, {by} AS name, response_time_us AS us,
                count(*) AS n
            FROM usage_logs WHERE at_ms >= :from_ms AND at_ms < :to_ms GROUP BY 1, 2, 3
        ), ranked AS (
            SELECT step, name, us,
                sum(n) OVER (PARTITION BY step, name ORDER BY us) AS rank,
                sum(n) OVER (PARTITION BY step, name) AS total
            FROM counted
        )
        SELECT step, name, {_PERCENTILES}
        FROM ranked GROUP BY step, name ORDER BY step, 3 DESC, name
        """  # noqa: S608 - the name is one of an enumeration
    return text, {"step_ms": step_ms, "from_ms": span.from_ms, "to_ms": span.to_ms}
