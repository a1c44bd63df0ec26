"""Who did what when: a lane for each of those who act, as SVG that needs no script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby

from msgspec import Struct

from forebay.observability.chart import LEFT, WIDTH, Mark, TimeAxis

#: Heights in SVG's units: what numbers of marks stand in, a lane's name, one of its rows, what is
#: free below it, and the moments below all.
_TOP, _NAME, _ROW, _GAP, _BOTTOM = 34, 15, 13, 8, 22

#: How much of a row a tick takes.
_TICK = 10

#: Numbers of marks that would lie on each other stand in so many levels.
_LEVELS = 2
_NUMBER_WIDTH = 17

#: Ticks nearer to each other than this are one, in SVG's units, and the steps in which that grows
#: until there are few enough.
_NEAR = 2.5
_COARSER = 1.6

#: How many texts a tick that stands for several repeats.
_TEXTS_MAX = 6

#: How wide a tick is at least that stands for several.
_MANY_WIDTH = 4

#: What a page with lanes has of its own.
LANES_STYLE = """
.scroll svg { min-width: 860px; }
.lane { font-weight: 600; } svg text.lane { fill: var(--ink); }
.bar { fill: var(--soft); opacity: .13; } .bar:hover { opacity: .22; }
.end { stroke: var(--soft); stroke-width: 2; fill: none; }
.end.bad { stroke: var(--bad); stroke-width: 2.4; }
@media (prefers-color-scheme: dark) { .tick { filter: brightness(1.3); } }
.tick path { stroke-width: 2; } .tick path:hover { stroke: var(--ink); }
.tick rect { stroke: none; } .tick rect:hover { fill: var(--ink); }
.fault { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 3 3; opacity: .8; }
circle.number { fill: #d5350e; } svg text.number { fill: #fff; font-weight: 600; font-size: 10px; }
"""


class Tick(Struct, frozen=True):
    """Something done at a moment."""

    at_ms: int
    colour: str
    text: str
    #: When the last was done, of one that stands for several.
    until_ms: int | None = None


class Row(Struct, frozen=True):
    """What one did of one kind."""

    name: str
    ticks: Sequence[Tick]


class Bar(Struct, frozen=True):
    """A time in which one was there."""

    from_ms: int
    #: None is until the end of what is shown.
    to_ms: int | None
    text: str
    #: Whether it ended as it should not.
    bad: bool = False


class Lane(Struct, frozen=True):
    """One who acts."""

    name: str
    rows: Sequence[Row]
    bars: Sequence[Bar] = ()


class Drawing(Struct, frozen=True):
    """Lanes as SVG."""

    svg: str
    #: Whether some ticks stand for several.
    thinned: bool


def drawn_lanes(
    lanes: Sequence[Lane], marks: Sequence[Mark], axis: TimeAxis, *, label: str, ticks_max: int
) -> Drawing:
    """The lanes one below another, and the marks across them, each with its number from 1.

    Ticks that would lie on each other are drawn as one block, and so are further ones until there
    are `ticks_max` at most.
    """
    near = _NEAR
    thin = _thin(lanes, axis, near)
    while near < WIDTH and sum(len(row.ticks) for lane in thin for row in lane.rows) > ticks_max:
        near *= _COARSER
        thin = _thin(lanes, axis, near)
    parts: list[str] = []
    y = _TOP
    for lane in thin:
        parts.append(_lane(lane, axis, y))
        y += _NAME + _height(lane) + _GAP
    parts += _marks(marks, axis, y)
    parts.append(axis.moments(y + _BOTTOM - 6))
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {y + _BOTTOM}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
    return Drawing(svg, _count(thin) < _count(lanes))


def _height(lane: Lane) -> int:
    """What its rows take; who did nothing has been there all the same."""
    return _ROW * max(1, len(lane.rows))


def _count(lanes: Iterable[Lane]) -> int:
    return sum(len(row.ticks) for lane in lanes for row in lane.rows)


def _thin(lanes: Sequence[Lane], axis: TimeAxis, near: float) -> list[Lane]:
    """The lanes with one tick for all of a colour that are near each other."""
    return [
        Lane(
            lane.name,
            [Row(row.name, _merged(row.ticks, axis, near)) for row in lane.rows],
            lane.bars,
        )
        for lane in lanes
    ]


def _merged(ticks: Iterable[Tick], axis: TimeAxis, near: float) -> list[Tick]:
    def place(tick: Tick) -> tuple[str, int]:
        return tick.colour, int(axis.x(tick.at_ms) / near)

    return [_one(list(same)) for _, same in groupby(sorted(ticks, key=place), key=place)]


def _one(ticks: list[Tick]) -> Tick:
    """A tick that stands for several."""
    if len(ticks) == 1:
        return ticks[0]
    texts = [tick.text for tick in ticks[:_TEXTS_MAX]]
    more = len(ticks) - len(texts)
    heading = [f"{len(ticks):,} together:"]
    text = "\n".join([*heading, *texts, *([f"and {more:,} more"] if more else [])])
    return Tick(ticks[0].at_ms, ticks[0].colour, text, ticks[-1].at_ms)


def _lane(lane: Lane, axis: TimeAxis, y: int) -> str:
    """Its name, its bars, and its rows below each other."""
    top = y + _NAME
    height = _height(lane)
    parts = [f'<text class="lane" x="{LEFT}" y="{y + 11}">{escape(lane.name)}</text>']
    parts += [_bar(bar, axis, top, height) for bar in lane.bars]
    for number, row in enumerate(lane.rows):
        row_y = top + _ROW * number
        parts.append(
            f'<text x="{LEFT - 8}" y="{row_y + 10}" text-anchor="end">{escape(row.name)}</text>'
        )
        parts += _row(row, axis, row_y + (_ROW - _TICK) / 2)
    return "".join(parts)


def _row(row: Row, axis: TimeAxis, y: float) -> Iterator[str]:
    for colour, ticks in groupby(row.ticks, key=lambda tick: tick.colour):
        shapes = "".join(_tick(tick, axis, y) for tick in ticks)
        yield f'<g class="tick" stroke="{colour}" fill="{colour}">{shapes}</g>'


def _tick(tick: Tick, axis: TimeAxis, y: float) -> str:
    """A line; of several a block, from the first to the last."""
    x = axis.x(tick.at_ms)
    title = f"<title>{escape(tick.text, quote=False)}</title>"
    if tick.until_ms is None:
        return f'<path d="M{x:.1f} {y:g}v{_TICK}">{title}</path>'
    width = max(axis.x(tick.until_ms) - x, _MANY_WIDTH)
    return f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{_TICK}">{title}</rect>'


def _bar(bar: Bar, axis: TimeAxis, y: float, height: float) -> str:
    """A band from beginning to end, and a line or a cross where it ends."""
    begin = axis.x(bar.from_ms)
    end = axis.x(axis.end_ms if bar.to_ms is None else bar.to_ms)
    title = f"<title>{escape(bar.text, quote=False)}</title>"
    band = (
        f'<rect class="bar" x="{begin:.1f}" y="{y:g}" width="{max(end - begin, 1):.1f}"'
        f' height="{height:g}">{title}</rect>'
    )
    if bar.to_ms is None:
        return band
    middle = y + height / 2
    shape = (
        f"M{end - 4:.1f} {middle - 4:g}l8 8m0 -8l-8 8"
        if bar.bad
        else f"M{end:.1f} {y:g}v{height:g}"
    )
    return f'{band}<path class="end{" bad" if bar.bad else ""}" d="{shape}">{title}</path>'


def _marks(marks: Sequence[Mark], axis: TimeAxis, bottom: float) -> Iterator[str]:
    """A line through all lanes for each mark, and its number above them."""
    right = [float("-inf")] * _LEVELS
    for number, mark in enumerate(marks, start=1):
        x = axis.x(mark.at_ms)
        level = next((each for each in range(_LEVELS) if right[each] < x), _LEVELS - 1)
        right[level] = x + _NUMBER_WIDTH
        y = 8 + level * _NUMBER_WIDTH
        title = f"<title>{escape(mark.text, quote=False)}</title>"
        yield (
            f'<g>{title}<line class="fault" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{bottom:g}"/>'
            f'<circle class="number" cx="{x:.1f}" cy="{y}" r="8"/>'
            f'<text class="number" x="{x:.1f}" y="{y + 4}" text-anchor="middle">{number}</text></g>'
        )
