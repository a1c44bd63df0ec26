"""A usage report as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from forebay.apps.usage.report import UsageReport, readable_rate, readable_us
from forebay.apps.usage.store import By, Latencies
from forebay.observability.chart import Chart, Line, Mark, colour, drawn, page

_TITLES = {
    By.API_KEY: "API keys",
    By.ASSET: "Assets",
    By.SOURCE: "Sources",
    By.CACHE_TIER: "Cache tiers",
}

#: Tiers that have a chart of their own, those with most usage logs.
_TIERS_DRAWN_MAX = 6

_HEADINGS = ("requests", "part", "median", "90 %", "99 %", "99.9 %", "longest")


def report_page(report: UsageReport, title: str, marks: Sequence[Mark] = ()) -> str:
    """The report as an HTML page, for light and dark screens. `marks` are shown in every chart."""
    if not report.moments:
        return page(title, "<p>No use was logged in this time.</p>")
    parts = [_summary(report)]
    times_ms = [moment.at_ms for moment in report.moments]
    parts += [drawn(chart, times_ms) for chart in _charts(report, marks)]
    parts += [
        f"<h2>{_TITLES[by]}</h2><p>requests, and how long they took</p>"
        f"{_table(groups, report.rows)}"
        for by, groups in report.groups.items()
    ]
    parts.append(_counters(report))
    return page(title, "\n".join(parts))


def _summary(report: UsageReport) -> str:
    span, totals = report.span, report.totals
    lasted_s = (span.to_ms - span.from_ms) / 1000
    exact = totals.rows == totals.counted
    verdict = "they agree" if exact else "they do not agree"
    return (
        f"<p>{report.rows:,} uses from {_time(span.from_ms)} UTC on, in {lasted_s:,.0f} s:"
        f" {readable_rate(report.rows / lasted_s)} a second. Times are from the beginning on.</p>"
        f"<p>All that is kept: {totals.rows:,} rows, and {totals.counted:,} by the counters:"
        f' <b class="{"good" if exact else "bad"}">{verdict}</b>.'
        f" {totals.rejects:,} rejects; {totals.packs:,} packs.</p>"
    )


def _charts(report: UsageReport, marks: Sequence[Mark]) -> Iterable[Chart]:
    tiers = [group.name for group in report.groups[By.CACHE_TIER][:_TIERS_DRAWN_MAX]]
    moments = [{tier.name: tier for tier in moment.groups} for moment in report.moments]
    step_s = report.step_ms / 1000
    marks_text = "vertical: " + ", ".join(mark.text for mark in marks) if marks else ""

    def line(name: str, index: int, values: Iterable[float | None]) -> Line:
        return Line(name, colour(index), list(values))

    yield Chart(
        "Rate",
        f"requests a second, by the tier that answered, in steps of {step_s:g} s",
        [
            line(tier, index, (_rows(moment.get(tier)) / step_s for moment in moments))
            for index, tier in enumerate(tiers)
        ],
        marks,
        marks_text,
    )
    for index, tier in enumerate(tiers):
        found = [moment.get(tier) for moment in moments]
        yield Chart(
            f"Response time, {tier}",
            "median and 99th percentile of each step, in milliseconds",
            [
                line(
                    "median",
                    index,
                    (None if each is None else each.p50_us / 1000 for each in found),
                ),
                line(
                    "99 %",
                    index + 1,
                    (None if each is None else each.p99_us / 1000 for each in found),
                ),
            ],
        )


def _rows(group: Latencies | None) -> int:
    return 0 if group is None else group.rows


def _table(groups: Sequence[Latencies], rows: int) -> str:
    lines = (
        _row(
            group.name,
            (
                f"{group.rows:,}",
                f"{group.rows / rows:.1%}",
                *(
                    readable_us(us)
                    for us in (
                        group.p50_us,
                        group.p90_us,
                        group.p99_us,
                        group.p999_us,
                        group.max_us,
                    )
                ),
            ),
        )
        for group in groups
    )
    return _numbers(_HEADINGS, lines)


def _counters(report: UsageReport) -> str:
    lines = (
        _row(key.api_key_id, (f"{key.events:,}", f"{_time(key.last_ms)} UTC"))
        for key in report.keys
    )
    table = _numbers(("uses", "latest"), lines)
    return f"<h2>Counters</h2><p>uses of each key on all days, from current_usage</p>{table}"


def _numbers(headings: Iterable[str], lines: Iterable[str]) -> str:
    heads = "".join(f'<th class="number">{heading}</th>' for heading in headings)
    body = "".join(lines)
    return f'<div class="scroll"><table><tr><th></th>{heads}</tr>{body}</table></div>'


def _row(name: str, numbers: Iterable[str]) -> str:
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    return f"<tr><td>{escape(name)}</td>{cells}</tr>"


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
