"""A usage report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forebay.apps.usage.report import UsageReport, readable_rate, readable_us
from forebay.apps.usage.store import By


def report_text(report: UsageReport) -> RenderableType:
    """Groups with their latencies, the rate over time, and what the counters say."""
    return Group(*_parts(report))


def _parts(report: UsageReport) -> Iterator[RenderableType]:
    if report.moments:
        yield from (_groups(report, by) for by in report.groups)
        yield _rate(report)
    else:
        yield Text("No use was logged in this time.")
    totals = report.totals
    yield Text(
        f"All that is kept: {totals.rows:,} rows, {totals.counted:,} by the counters;"
        f" {totals.rejects:,} rejects, {totals.packs:,} packs."
    )


def _groups(report: UsageReport, by: By) -> Table:
    table = Table(box=SIMPLE_HEAD)
    # What may be wrapped is made narrower first: a long name is cut, and never a number.
    table.add_column(by.value.replace("_", " "), min_width=12)
    for heading in ("requests", "median", "90 %", "99 %", "99.9 %", "longest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in report.groups[by]:
        times = (group.p50_us, group.p90_us, group.p99_us, group.p999_us, group.max_us)
        table.add_row(_shown(group.name), f"{group.rows:,}", *map(readable_us, times))
    return table


def _shown(name: str) -> Text:
    """A name that senders chose, in one line, without what a terminal would obey."""
    printable = "".join(each if each.isprintable() else "\ufffd" for each in name)
    return Text(printable, no_wrap=True, overflow="ellipsis")


def _rate(report: UsageReport) -> Text:
    rates = [
        sum(tier.rows for tier in moment.groups) * 1000 / report.step_ms
        for moment in report.moments
    ]
    top = max(rates)
    bars = "".join(" ▁▂▃▄▅▆▇█"[ceil(8 * rate / top)] for rate in rates)
    return Text(
        f"Requests a second over {(report.span.to_ms - report.span.from_ms) / 1000:,.0f} s, at most"
        f" {readable_rate(top)}:\n{bars}\n"
    )
