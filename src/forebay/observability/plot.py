"""A page that shows a recording: lines over time, and the decisions. It needs no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from math import ceil, floor, log10

from msgspec import Struct

from forebay.observability.recording import Made, Point, Recording

#: Size of a chart in SVG's units, and what is left free around its lines.
_WIDTH, _HEIGHT = 1_000, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 24

#: Colours that people with any colour vision tell apart (Okabe and Ito), for light and dark pages.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#666666")

#: Most points of a line; more are thinned out to the highest of each stretch.
_POINTS_MAX = 1_000

#: A gap longer than so many usual distances between points is an outage, and breaks the line.
_GAP = 4.0

_CLASSES = {3: "high", 2: "medium", 1: "low"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #667079; --rule: #e3e6e9; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa4ad; --rule: #333a41; --page: #15181b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 1040px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0; } h2 { font-size: 1rem; margin: 1.4rem 0 .1rem; }
p { color: var(--soft); margin: .1rem 0; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.rule { stroke: var(--rule); } .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.target { stroke-dasharray: 5 3; } .mark { stroke: var(--soft); stroke-width: 1; opacity: .55; }
.mark:hover { opacity: 1; stroke-width: 3; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 18px; border-top: 3px solid; margin-right: .4rem;
  vertical-align: middle; } .legend i.dashed { border-top-style: dashed; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; font-weight: 600; color: var(--soft); }
td, th { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; font-variant-numeric: tabular-nums; }
td:first-child, td:nth-child(4) { white-space: nowrap; }
"""


class _Line(Struct):
    """One line of a chart."""

    name: str
    colour: str
    #: One value for each point; None where it is not known.
    values: list[float | None]
    #: A dashed line in steps: what was decided, not what was seen.
    target: bool = False


class _Chart(Struct):
    title: str
    text: str
    lines: list[_Line]
    #: The pool whose decisions are marked.
    pool: str = ""


def plot_page(recording: Recording, title: str) -> str:
    """The recording as an HTML page that needs nothing else."""
    points = _thinned(recording.points)
    charts = _charts(points) if points else []
    drawn = "\n".join(_drawn(chart, points, recording.decisions) for chart in charts)
    body = drawn or "<p>No worker was seen.</p>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n{_span(recording.points)}\n{body}\n"
        f"{_decision_table(recording.decisions, recording.points)}\n</body></html>\n"
    )


def _span(points: Sequence[Point]) -> str:
    if not points:
        return ""
    begun = datetime.fromtimestamp(points[0].at_ms / 1000, UTC)
    lasted_s = (points[-1].at_ms - points[0].at_ms) / 1000
    done = points[-1].done - points[0].done
    return (
        f"<p>From {begun:%Y-%m-%d %H:%M:%S} UTC on, {lasted_s:.0f} s; {done:,} messages were"
        " handled and deleted meanwhile. Times are in seconds from the beginning.</p>"
    )


def _charts(points: Sequence[Point]) -> list[_Chart]:
    queues = list(dict.fromkeys(name for point in points for name in point.age_s))
    classes = sorted({each for point in points for each in point.buffered}, reverse=True)

    def by_queue(value_of: Callable[[Point, str], float | None]) -> list[_Line]:
        return [
            _Line(name, _colour(index), [value_of(point, name) for point in points])
            for index, name in enumerate(queues)
        ]

    return [
        _Chart(
            "Depth",
            "messages that may be received, as SQS said last",
            by_queue(lambda point, name: point.visible.get(name)),
        ),
        _Chart(
            "Age",
            "of the oldest message that came in lately for the first time, in seconds",
            by_queue(lambda point, name: point.age_s.get(name)),
        ),
        _pool("Pollers", "receives in flight, and how many there may be", "pollers", points),
        _pool("Processors", "handlers that run, and how many may", "processors", points),
        _Chart(
            "Buffers",
            "messages that wait for a handler, by class",
            [
                _Line(
                    _CLASSES.get(each, str(each)),
                    _colour(index),
                    [point.buffered.get(each) for point in points],
                )
                for index, each in enumerate(classes)
            ],
        ),
    ]


def _pool(title: str, text: str, pool: str, points: Sequence[Point]) -> _Chart:
    pools = [getattr(point, pool) for point in points]
    lines = [
        _Line("at work", _COLOURS[0], [each.busy for each in pools]),
        _Line("allowed", _COLOURS[1], [each.target for each in pools], target=True),
    ]
    return _Chart(title, text, lines, pool)


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _drawn(chart: _Chart, points: Sequence[Point], made: Iterable[Made]) -> str:
    begin_ms, end_ms = points[0].at_ms, max(points[-1].at_ms, points[0].at_ms + 1_000)
    values = [value for line in chart.lines for value in line.values if value is not None]
    top = _round_up(max(values, default=1.0))

    def x(at_ms: float) -> float:
        return _LEFT + (at_ms - begin_ms) / (end_ms - begin_ms) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_level(y(part * top), part * top) for part in (0, 0.5, 1)]
    parts += [_moment(x(begin_ms + at_s * 1000), at_s) for at_s in _ticks(end_ms - begin_ms)]
    parts += [
        f'<line class="mark" x1="{x(at_ms):.1f}" x2="{x(at_ms):.1f}" y1="{_TOP}"'
        f' y2="{_HEIGHT - _BOTTOM}"><title>{escape(_said(each, begin_ms))}</title></line>'
        for each in made
        if each.decision.pool == chart.pool and begin_ms <= (at_ms := each.decision.at_ms) <= end_ms
    ]
    longest_ms = _GAP * (points[-1].at_ms - begin_ms) / max(1, len(points) - 1)
    for line in chart.lines:
        kind = "line target" if line.target else "line"
        for path in _paths(line, points, x, y, longest_ms):
            parts.append(f'<path class="{kind}" stroke="{line.colour}" d="{path}"/>')
    legend = "".join(
        f'<span><i class="{"dashed" if line.target else ""}"'
        f' style="border-color:{line.colour}"></i>{escape(line.name)}</span>'
        for line in chart.lines
    )
    marks = "<span>vertical: a decision, hover for its reason</span>" if chart.pool else ""
    return (
        f"<h2>{chart.title}</h2><p>{chart.text}</p>"
        f'<div class="legend">{legend}{marks}</div>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{chart.title}">'
        f"{''.join(parts)}</svg>"
    )


def _level(at: float, value: float) -> str:
    return (
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:,g}</text>'
    )


def _moment(at: float, at_s: float) -> str:
    return f'<text x="{at:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{at_s:g} s</text>'


def _paths(
    line: _Line,
    points: Sequence[Point],
    x: Callable[[float], float],
    y: Callable[[float], float],
    longest_ms: float,
) -> list[str]:
    """The line as SVG paths, a new one behind each gap."""
    paths: list[list[str]] = []
    previous_ms: int | None = None
    for point, value in zip(points, line.values, strict=True):
        if value is None:
            previous_ms = None
            continue
        if previous_ms is None or point.at_ms - previous_ms > longest_ms:
            paths.append([f"M{x(point.at_ms):.1f} {y(value):.1f}"])
        elif line.target:
            paths[-1].append(f"H{x(point.at_ms):.1f}V{y(value):.1f}")
        else:
            paths[-1].append(f"L{x(point.at_ms):.1f} {y(value):.1f}")
        previous_ms = point.at_ms
    return ["".join(path) for path in paths]


def _round_up(value: float) -> float:
    """The next number above that is easy to halve: 1, 2, 4, 6, 8 or 10 of its power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if value <= step * power * 1.000001)


def _ticks(duration_ms: float) -> list[float]:
    """Some ten moments, in seconds."""
    rough_s = duration_ms / 10_000
    power = 10.0 ** floor(log10(rough_s))
    step_s = next(step * power for step in (1, 2, 5, 10) if rough_s <= step * power * 1.000001)
    return [number * step_s for number in range(int(duration_ms / 1000 / step_s) + 1)]


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
