"""A page that shows a recording: lines over time, and the decisions. It needs no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from math import ceil

from forebay.observability.chart import Chart, Line, Mark, colour, drawn, page
from forebay.observability.recording import Made, Point, Recording

#: Most points of a line; more are thinned out to the highest of each stretch.
_POINTS_MAX = 1_000

_CLASSES = {3: "high", 2: "medium", 1: "low"}


def plot_page(recording: Recording, title: str) -> str:
    """The recording as an HTML page that needs nothing else."""
    points = _thinned(recording.points)
    times_ms = [point.at_ms for point in points]
    charts = _charts(points, recording.decisions) if points else []
    body = "\n".join(drawn(chart, times_ms) for chart in charts) or "<p>No worker was seen.</p>"
    table = _decision_table(recording.decisions, recording.points)
    return page(title, f"{_span(recording.points)}\n{body}\n{table}")


def _span(points: Sequence[Point]) -> str:
    if not points:
        return ""
    begun = datetime.fromtimestamp(points[0].at_ms / 1000, UTC)
    lasted_s = (points[-1].at_ms - points[0].at_ms) / 1000
    done = points[-1].done - points[0].done
    return (
        f"<p>From {begun:%Y-%m-%d %H:%M:%S} UTC on, {lasted_s:.0f} s; {done:,} messages were"
        " handled and deleted meanwhile. Times are from the beginning on.</p>"
    )


def _charts(points: Sequence[Point], made: Sequence[Made]) -> list[Chart]:
    queues = list(dict.fromkeys(name for point in points for name in point.age_s))
    classes = sorted({each for point in points for each in point.buffered}, reverse=True)

    def by_queue(value_of: Callable[[Point, str], float | None]) -> list[Line]:
        return [
            Line(name, colour(index), [value_of(point, name) for point in points])
            for index, name in enumerate(queues)
        ]

    return [
        Chart(
            "Depth",
            "messages that may be received, as SQS said last",
            by_queue(lambda point, name: point.visible.get(name)),
        ),
        Chart(
            "Age",
            "of the oldest message that came in lately for the first time, in seconds",
            by_queue(lambda point, name: point.age_s.get(name)),
        ),
        _pool("Pollers", "receives in flight, and how many there may be", "pollers", points, made),
        _pool("Processors", "handlers that run, and how many may", "processors", points, made),
        Chart(
            "Buffers",
            "messages that wait for a handler, by class",
            [
                Line(
                    _CLASSES.get(each, str(each)),
                    colour(index),
                    [point.buffered.get(each) for point in points],
                )
                for index, each in enumerate(classes)
            ],
        ),
    ]


def _pool(title: str, text: str, pool: str, points: Sequence[Point], made: Sequence[Made]) -> Chart:
    pools = [getattr(point, pool) for point in points]
    lines = [
        Line("at work", colour(0), [each.busy for each in pools]),
        Line("allowed", colour(1), [each.target for each in pools], target=True),
    ]
    marks = [
        Mark(each.decision.at_ms, _said(each, points[0].at_ms))
        for each in made
        if each.decision.pool == pool
    ]
    return Chart(title, text, lines, marks, "vertical: a decision, hover for its reason")


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most so many points as can be told apart: of each stretch the one with most to do."""
    size = ceil(len(points) / _POINTS_MAX)
    if size <= 1:
        return list(points)
    return [
        max(points[begin : begin + size], key=lambda point: max(point.age_s.values(), default=0))
        for begin in range(0, len(points), size)
    ]


def _said(made: Made, begin_ms: int) -> str:
    decision = made.decision
    return (
        f"{(decision.at_ms - begin_ms) / 1000:.1f} s, process {made.process}:"
        f" {decision.pool} {decision.before} → {decision.after}: {decision.reason}"
    )


def _decision_table(made: Sequence[Made], points: Sequence[Point]) -> str:
    if not made:
        return ""
    begin_ms = points[0].at_ms if points else made[0].decision.at_ms
    rows = "".join(
        f"<tr><td>{(each.decision.at_ms - begin_ms) / 1000:.1f} s</td>"
        f"<td>{each.process}</td><td>{escape(each.decision.pool)}</td>"
        f"<td>{each.decision.before} → {each.decision.after}</td>"
        f"<td>{escape(each.decision.reason)}</td>"
        f"<td>{escape(_inputs(each))}</td></tr>"
        for each in sorted(made, key=lambda each: each.decision.at_ms)
    )
    return (
        f"<h2>Decisions</h2><p>{len(made):,}, with what they were made from</p>"
        "<table><tr><th>time</th><th>process</th><th>pool</th><th>size</th><th>reason</th>"
        f"<th>from</th></tr>{rows}</table>"
    )


def _inputs(made: Made) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in made.decision.inputs.items())
