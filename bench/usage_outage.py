"""One run over time: the broker is killed in the middle, and every log arrives all the same."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from threading import Thread

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.bars import Bar
from bench.usage_pipeline import Exactness, Outcome, Pipeline, pipeline
from bench.usage_sizes import Sizes
from forebay.observability.chart import Chart, Line, Mark, colour, drawn, page, svg
from forebay.producer import ProducerSettings, WhenFull

#: Logs a second, and from how many processes.
PER_SECOND, PRODUCERS = 60_000, 2

#: When the broker is killed and for how long it is away, as parts of the time of the load.
_KILLED_AT, _AWAY = 0.3, 0.3

#: How long the writer gathers a batch: shorter than by default, whose 5 s the plot would show as
#: heaps of rows.
_WITHIN_MS = 500

#: Distance of the points of the plot, in seconds.
_STEP_S = 0.5

_PATIENCE_S = 120

#: How many lines the table has at most.
_LINES = 20


class Moment(Struct):
    """A point of the plot. Rates are those of the step before it."""

    at_s: float
    offered_per_s: float
    delivered_per_s: float
    rows_per_s: float
    buffered: float
    spilled: float


class Report(Struct):
    """The part as it is written to JSON."""

    killed_s: float
    back_s: float
    moments: list[Moment]
    offered: int
    lost: int
    exact: Exactness


def run(sizes: Sizes, console: Console, _earlier: object) -> Report:
    """Offer a load and take the broker away for a while; draws the plot where one is wanted."""
    settings = ProducerSettings(when_full=WhenFull.SPILL)
    times_s: list[float] = []
    with console.status("an outage"), pipeline(1, _WITHIN_MS) as running:
        begun_s, futures = running.offer(
            PER_SECOND,
            sizes.outage_seconds,
            PRODUCERS,
            settings,
            patience_s=_PATIENCE_S,
            sample_s=_STEP_S / 2,
        )
        outage = Thread(target=_take_away, args=(running, begun_s, sizes.outage_seconds, times_s))
        outage.start()
        outcome = running.watch(begun_s, futures, _PATIENCE_S)
        outage.join()
    killed_s, back_s = times_s
    ledgers = [offer.ledger for offer in outcome.offers]
    report = Report(
        killed_s,
        back_s,
        moments(outcome),
        sum(offer.calls for offer in outcome.offers),
        sum(ledger.lost for ledger in ledgers),
        outcome.exact,
    )
    if sizes.plot is not None:
        path = Path(sizes.plot)
        path.write_text(plot(report, as_svg=path.suffix == ".svg"), encoding="utf-8")
        console.print(f"drawn into {sizes.plot}")
    return report


def bars(report: Report) -> list[Bar]:
    """What was asked for."""
    exact = report.exact
    return [
        Bar("outage, logs lost", 0, report.lost, at_most=True),
        Bar("outage, offered logs that are no row", 0, abs(report.offered - exact.rows), True),
        Bar(
            "outage, doubled rows and wrong counters", 0, exact.doubled + exact.keys_different, True
        ),
    ]


def print_tables(report: Report, console: Console) -> None:
    """Show the report to people."""
    away_s = report.back_s - report.killed_s
    table = Table(
        title=f"The broker is killed after {report.killed_s:.1f} s and away for {away_s:.1f} s"
    )
    table.add_column("after", justify="right")
    for heading in ("offered/s", "delivered/s", "rows/s", "buffered", "spilled"):
        table.add_column(heading, justify="right")
    every = -(-len(report.moments) // _LINES)
    for moment in report.moments[::every]:
        figures = (
            moment.offered_per_s,
            moment.delivered_per_s,
            moment.rows_per_s,
            moment.buffered,
            moment.spilled,
        )
        table.add_row(f"{moment.at_s:.1f} s", *(f"{figure:,.0f}" for figure in figures))
    console.print(table)


def moments(outcome: Outcome) -> list[Moment]:
    """The run in steps of the same length, all producers together."""
    end_s = max([*(offer.ended_s for offer in outcome.offers), outcome.seen[-1].at_s])
    times_s = [
        outcome.begun_s + number * _STEP_S
        for number in range(int((end_s - outcome.begun_s) / _STEP_S) + 2)
    ]
    samples = [offer.samples for offer in outcome.offers]

    def together(name: str) -> list[float]:
        return [
            sum(
                value_at([(each.at_s, getattr(each, name)) for each in one], at_s)
                for one in samples
            )
            for at_s in times_s
        ]

    rows = [value_at([(seen.at_s, seen.rows) for seen in outcome.seen], at_s) for at_s in times_s]
    rates = [_rates(series) for series in (together("offered"), together("delivered"), rows)]
    gauges = together("buffered"), together("spilled")
    return [
        Moment(at_s - outcome.begun_s, *figures)
        for at_s, *figures in zip(times_s, *rates, *gauges, strict=True)
    ]


def value_at(points: Sequence[tuple[float, float]], at_s: float) -> float:
    """The value at a time, on the straight line between the points beside it."""
    place = bisect_right(points, at_s, key=lambda point: point[0])
    if place in (0, len(points)):
        return points[0 if place == 0 else -1][1]
    (before_s, before), (after_s, after) = points[place - 1], points[place]
    return before + (after - before) * (at_s - before_s) / (after_s - before_s)


def plot(report: Report, *, as_svg: bool) -> str:
    """The run as a page, or as a drawing alone."""
    times_ms = [round(moment.at_s * 1000) for moment in report.moments]
    marks = [
        Mark(round(report.killed_s * 1000), "the broker is killed"),
        Mark(round(report.back_s * 1000), "the broker is back"),
    ]

    def line(number: int, name: str, field: str) -> Line:
        values = [getattr(moment, field) for moment in report.moments]
        return Line(name, colour(number), values)

    charts = [
        Chart(
            "Logs a second",
            "offered by the application, delivered to the queue, written to PostgreSQL",
            [
                line(0, "offered", "offered_per_s"),
                line(1, "delivered", "delivered_per_s"),
                line(2, "rows", "rows_per_s"),
            ],
            marks,
            "vertical: the broker is killed, and is back",
        ),
        Chart(
            "Waiting in the producers",
            "logs in memory and logs on the disk",
            [line(3, "buffered", "buffered"), line(4, "spilled", "spilled")],
            marks,
        ),
    ]
    if as_svg:
        return svg(charts, times_ms)
    body = "\n".join(drawn(chart, times_ms) for chart in charts)
    said = (
        f"<p>{report.offered:,} logs were offered, {report.lost:,} lost; {report.exact.rows:,} rows"
        f" and as many counted: {report.exact.counted:,}; {report.exact.doubled:,} doubled.</p>"
    )
    return page("Usage logs while the broker is away", said + body)


def _rates(series: Sequence[float]) -> list[float]:
    rises = [(after - before) / _STEP_S for before, after in pairwise(series)]
    return [0.0, *rises]


def _take_away(running: Pipeline, begun_s: float, seconds: float, times_s: list[float]) -> None:
    time.sleep(max(0.0, begun_s + _KILLED_AT * seconds - time.monotonic()))
    running.kill_broker()
    times_s.append(time.monotonic() - begun_s)
    time.sleep(_AWAY * seconds)
    running.start_broker()
    times_s.append(time.monotonic() - begun_s)
