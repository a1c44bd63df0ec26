"""Charts of lines over time, as HTML and SVG that need no network and no script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from math import floor, log10
from statistics import median

from msgspec import Struct

#: Size of a chart in SVG's units, and what is left free around its lines.
WIDTH, _HEIGHT = 1_000, 170
LEFT, RIGHT, _TOP, _BOTTOM = 64, 12, 12, 24

#: What a drawing that stands alone has above each chart for its words, in SVG's units.
_HEAD = 44

#: Colours that people with any colour vision tell apart (Okabe and Ito), for light and dark pages.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#666666")

#: A gap longer than so many usual distances between points is an outage, and breaks the line.
_GAP = 4.0

#: What times are told in, longest first, in milliseconds; each from so many of it on.
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000))
_UNITS_SHOWN_MIN = 3

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #667079; --rule: #e3e6e9; --page: #fff;
  --good: #00875a; --bad: #d5350e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa4ad; --rule: #333a41; --page: #15181b; --good: #3ecf8e;
    --bad: #ff7a5c; } .line, .legend i { filter: brightness(1.3); } }
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
.number { text-align: right; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; }
"""

#: What a drawing that stands alone takes from that.
_SVG_STYLE = """
:root { --ink: #1c2024; --soft: #667079; --rule: #e3e6e9; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa4ad; --rule: #333a41; --page: #15181b; } }
.page { fill: var(--page); } text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.title { font-size: 14px; font-weight: 600; fill: var(--ink); }
.rule { stroke: var(--rule); } .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.target { stroke-dasharray: 5 3; } .mark { stroke: var(--soft); stroke-width: 1; opacity: .55; }
"""


class TimeAxis(Struct, frozen=True):
    """The time that a chart shows, from its left to its right."""

    begin_ms: int
    end_ms: int
    #: Whether moments are told in seconds however long it is.
    in_seconds: bool = False

    @classmethod
    def of(cls, times_ms: Sequence[int], *, in_seconds: bool = False) -> TimeAxis:
        """The axis of these moments, ascending: a second long at least."""
        return cls(times_ms[0], max(times_ms[-1], times_ms[0] + 1_000), in_seconds)

    def x(self, at_ms: float) -> float:
        """Where a moment is, in SVG's units."""
        part = (at_ms - self.begin_ms) / (self.end_ms - self.begin_ms)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def moments(self, y: float) -> str:
        """Some ten moments, told from the beginning on, in a line at this height."""
        long_ms = self.end_ms - self.begin_ms
        unit, unit_ms = _UNITS[-1] if self.in_seconds else _unit(long_ms)
        return "".join(
            f'<text x="{self.x(self.begin_ms + at * unit_ms):.1f}" y="{y:g}"'
            f' text-anchor="middle">{at:g} {unit}</text>'
            for at in _ticks(long_ms / unit_ms)
        )


class Line(Struct):
    """One line of a chart."""

    name: str
    colour: str
    #: One value for each point in time; None where it is not known.
    values: Sequence[float | None]
    #: A dashed line in steps: what was decided, not what was seen.
    target: bool = False


class Mark(Struct):
    """A moment that a chart shows as a vertical line, with what is said of it."""

    at_ms: int
    text: str


class Chart(Struct):
    """Lines that share their points in time, and the moments that are marked."""

    title: str
    text: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    #: What the legend says of the marks.
    marks_text: str = ""


def page(title: str, body: str, style: str = "") -> str:
    """A whole HTML page, for light and dark screens. `style` is what it has of its own."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def colour(index: int) -> str:
    """The colour of the line with this number. They begin again behind the last."""
    return _COLOURS[index % len(_COLOURS)]


def drawn(
    chart: Chart, times_ms: Sequence[int], axis: TimeAxis | None = None, *, heading: str = "h2"
) -> str:
    """The chart as HTML. `times_ms` are the points in time of all its lines, ascending.

    `axis` is for charts that share their time with others.
    """
    legend = "".join(
        f'<span><i class="{"dashed" if line.target else ""}"'
        f' style="border-color:{line.colour}"></i>{escape(line.name)}</span>'
        for line in chart.lines
    )
    marks = f"<span>{escape(chart.marks_text)}</span>" if chart.marks_text else ""
    return (
        f"<{heading}>{escape(chart.title)}</{heading}><p>{escape(chart.text)}</p>"
        f'<div class="legend">{legend}{marks}</div>'
        f'<svg viewBox="0 0 {WIDTH} {_HEIGHT}" role="img" aria-label="{escape(chart.title)}">'
        f"{_inside(chart, times_ms, axis)}</svg>"
    )


def svg(charts: Sequence[Chart], times_ms: Sequence[int]) -> str:
    """The charts as one drawing for a page that is no HTML, each with its words above it."""
    parts = [
        f'<g transform="translate(0 {number * (_HEAD + _HEIGHT)})">{_head(chart)}'
        f'<g transform="translate(0 {_HEAD})">{_inside(chart, times_ms)}</g></g>'
        for number, chart in enumerate(charts)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH}'
        f' {len(charts) * (_HEAD + _HEIGHT)}" role="img"'
        f' aria-label="{escape("; ".join(chart.title for chart in charts))}">'
        f'<style>{_SVG_STYLE}</style><rect class="page" width="100%" height="100%"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _head(chart: Chart) -> str:
    """Title, text and legend as a drawing has them."""
    legend = "".join(
        f'<tspan dx="12" style="fill:{line.colour}">━ </tspan><tspan>{escape(line.name)}</tspan>'
        for line in chart.lines
    )
    marks = f'<tspan dx="12">{escape(chart.marks_text)}</tspan>' if chart.marks_text else ""
    return (
        f'<text class="title" x="{LEFT}" y="20">{escape(chart.title)}</text>'
        f'<text x="{LEFT}" y="36">{escape(chart.text)}{legend}{marks}</text>'
    )


def _inside(chart: Chart, times_ms: Sequence[int], axis: TimeAxis | None = None) -> str:
    """Axes, marks and lines."""
    axis = axis or TimeAxis.of(times_ms)
    values = [value for line in chart.lines for value in line.values if value is not None]
    top = _round_up(max(values, default=1.0))
    x = axis.x

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_level(y(part * top), part * top) for part in (0, 0.5, 1)]
    parts.append(axis.moments(_HEIGHT - 6))
    parts += [
        f'<line class="mark" x1="{x(mark.at_ms):.1f}" x2="{x(mark.at_ms):.1f}" y1="{_TOP}"'
        f' y2="{_HEIGHT - _BOTTOM}"><title>{escape(mark.text)}</title></line>'
        for mark in chart.marks
        if axis.begin_ms <= mark.at_ms <= axis.end_ms
    ]
    distances = [later - earlier for earlier, later in pairwise(times_ms)]
    longest_ms = _GAP * median(distances or [0])
    for line in chart.lines:
        kind = "line target" if line.target else "line"
        for path in _paths(line, times_ms, x, y, longest_ms):
            parts.append(f'<path class="{kind}" stroke="{line.colour}" d="{path}"/>')
    return "".join(parts)


def _level(at: float, value: float) -> str:
    return (
        f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:,g}</text>'
    )


def _paths(
    line: Line,
    times_ms: Sequence[int],
    x: Callable[[float], float],
    y: Callable[[float], float],
    longest_ms: float,
) -> list[str]:
    """The line as SVG paths, a new one behind each gap."""
    paths: list[list[str]] = []
    previous_ms: int | None = None
    for at_ms, value in zip(times_ms, line.values, strict=True):
        if value is None:
            previous_ms = None
            continue
        if previous_ms is None or at_ms - previous_ms > longest_ms:
            paths.append([f"M{x(at_ms):.1f} {y(value):.1f}"])
        elif line.target:
            paths[-1].append(f"H{x(at_ms):.1f}V{y(value):.1f}")
        else:
            paths[-1].append(f"L{x(at_ms):.1f} {y(value):.1f}")
        previous_ms = at_ms
    return ["".join(path) for path in paths]


def _round_up(value: float) -> float:
    """The next number above that is easy to halve: 1, 2, 4, 6, 8 or 10 of its power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if value <= step * power * 1.000001)


def _unit(duration_ms: float) -> tuple[str, int]:
    """What so long a time is told in, and how many milliseconds that is."""
    return next((unit for unit in _UNITS if duration_ms >= _UNITS_SHOWN_MIN * unit[1]), _UNITS[-1])


def _ticks(duration: float) -> list[float]:
    """Some ten moments."""
    rough = duration / 10
    power = 10.0 ** floor(log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if rough <= step * power * 1.000001)
    return [number * step for number in range(int(duration / step) + 1)]
