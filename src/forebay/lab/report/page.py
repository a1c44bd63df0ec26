"""Runs as one page that needs nothing else, for people who were not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from forebay.lab.report.outcome import books, outcome, stated
from forebay.lab.report.timeline import MARKS_MAX, timeline
from forebay.lab.runner import Result
from forebay.lab.scenario import option_name
from forebay.observability.chart import drawn, page
from forebay.observability.lanes import LANES_STYLE, drawn_lanes

#: Ticks on a page, of which each run gets its part between these bounds: so that a page of all fast
#: scenarios stays near a megabyte.
_TICKS_MAX, _RUN_TICKS_MIN, _RUN_TICKS_MAX = 6_000, 150, 1_200

#: Timelines on a page. Runs that failed go first, then the first of each scenario.
_TIMELINES_MAX = 40

_STYLE = (
    LANES_STYLE
    + """
h2 { margin-top: 2.6rem; padding-top: .8rem; border-top: 2px solid var(--rule);
  font-size: 1.15rem; }
h3 { font-size: .95rem; margin: 1.2rem 0 .1rem; }
p.claim { color: var(--ink); } .ledger { font-size: 1.02rem; color: var(--ink); margin: .6rem 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid #d5350e;
  padding-left: .7rem; font-size: 12px; }
.summary { min-width: 780px; } td { overflow-wrap: anywhere; }
.verdict { font-weight: 700; } a { color: inherit; }
ol { color: var(--soft); font-size: 13px; margin: .3rem 0 .6rem; padding-left: 1.6rem; }
"""
)


def lab_page(results: Sequence[Result]) -> str:
    """The page: a table of the verdicts, then each run with its timeline."""
    failed = sum(not result.passed for result in results)
    runs = f"{len(results):,} run" + ("" if len(results) == 1 else "s")
    title = f"The lab: {runs}, {len(results) - failed:,} passed, {failed:,} failed"
    with_timeline = _chosen(results)
    ticks_max = _TICKS_MAX // max(1, len(with_timeline))
    ticks_max = min(max(ticks_max, _RUN_TICKS_MIN), _RUN_TICKS_MAX)
    parts = [_summary(results), _reading()]
    for number, result in enumerate(results):
        shown = ticks_max if number in with_timeline else None
        parts.append(f'<section id="run-{number + 1}">{_run(result, shown)}</section>')
    return page(title, "\n".join(parts), _STYLE)


def _chosen(results: Sequence[Result]) -> set[int]:
    """The runs that have a timeline."""
    seen: set[str] = set()

    def rank(number: int) -> tuple[bool, bool, int]:
        result = results[number]
        again = result.scenario in seen
        seen.add(result.scenario)
        return result.passed, again, number

    ranks = [rank(number) for number in range(len(results))]
    return {number for *_, number in sorted(ranks)[:_TIMELINES_MAX]}


def _summary(results: Sequence[Result]) -> str:
    rows = (
        f'<tr><td><a href="#run-{number}">{escape(result.scenario)}</a></td>'
        f"<td>{_word(result)}</td><td>{escape(result.title)}</td>"
        f'<td class="number">{result.seconds:.1f}</td><td class="number">{result.seed}</td>'
        f"<td>{_why(result)}</td></tr>"
        for number, result in enumerate(results, start=1)
    )
    heads = (
        "<tr><th>scenario</th><th>verdict</th><th>what happens</th>"
        '<th class="number">seconds</th><th class="number">seed</th><th>ledger, and the reason</th>'
    )
    return (
        f'<div class="scroll"><table class="summary"><tr>{heads}</tr>{"".join(rows)}</table></div>'
    )


def _why(result: Result) -> str:
    """The books of a run, and the first reason of a failure."""
    ended = outcome(result)
    said = books(result)
    if not result.passed or ended.remark:
        said.append(": ".join(filter(None, (ended.remark, ended.reasons[0].partition("\n")[0]))))
    return "<br>".join(escape(each) for each in said)


def _reading() -> str:
    """How the page is read."""
    return (
        "<p>In each scenario programs use a queue, something goes wrong on purpose, and at the end"
        " every message is accounted for from what was seen: what was sent is done, visible, in"
        " flight, dead-lettered or expired. PASS means that the claim holds all the same. Of a"
        " timeline, each lane is a process: the band is its life, with a cross where it was killed"
        " or failed; each tick is something it did, and says what when it is pointed at. In the row"
        " “again” are messages that were received before. A numbered line is something that was"
        " made to happen. Times are those of the run.</p>"
    )


def _run(result: Result, ticks_max: int | None) -> str:
    """All about a run; `ticks_max` is for its timeline, None for none."""
    ended = outcome(result)
    remark = f", {ended.remark}" if ended.remark else ""
    parts = [
        f"<h2>{escape(result.scenario)}: {_word(result)}{escape(remark)}</h2>",
        f"<p>{escape(result.title)}</p>",
        f'<p class="claim">Claim: {escape(result.claim)}</p>',
        f"<p>{escape(_setting(result))}</p>",
    ]
    parts += [f'<p class="ledger">{escape(each)}</p>' for each in books(result)]
    if result.error is not None:
        parts.append(f"<pre>{escape(result.error)}</pre>")
    if result.verdicts:
        parts.append(_verdicts(result))
    if ticks_max is not None:
        parts += _timeline(result, ticks_max)
    else:
        parts.append("<p>Its timeline is left out, because there are many runs here.</p>")
    return "\n".join(parts)


def _setting(result: Result) -> str:
    """How it was run."""
    own_s = result.seconds * result.time_scale
    scaled = f", which are {own_s:.0f} s of its own" if result.time_scale != 1 else ""
    without = f", without {' and '.join(result.without)}" if result.without else ""
    options = "".join(f", {option_name(name)} {value}" for name, value in result.options.items())
    return f"It took {result.seconds:.1f} s{scaled}; seed {result.seed}{without}{options}."


def _verdicts(result: Result) -> str:
    rows = "".join(
        f"<tr><td>{_holds(verdict.holds)}</td><td>{escape(verdict.invariant)}"
        f"{' (as stated)' if not verdict.holds and stated(result, verdict) else ''}</td>"
        f"<td>{escape(verdict.detail)}</td></tr>"
        for verdict in sorted(result.verdicts, key=lambda verdict: verdict.holds)
    )
    return (
        '<div class="scroll"><table><tr><th>verdict</th><th>invariant</th><th>counted</th></tr>'
        f"{rows}</table></div>"
    )


def _timeline(result: Result, ticks_max: int) -> Iterator[str]:
    shown = timeline(result)
    if not shown.lanes and not shown.depths:
        yield "<p>Nothing happened of which there could be a timeline.</p>"
        return
    drawing = drawn_lanes(
        shown.lanes,
        shown.marks,
        shown.axis,
        label=f"What each process of {result.scenario} did",
        ticks_max=ticks_max,
    )
    yield "<h3>What each process did</h3>"
    if drawing.thinned:
        yield "<p>Ticks near each other are drawn as one block, from the first to the last.</p>"
    depths = "".join(
        drawn(chart, times_ms, shown.axis, heading="h3") for chart, times_ms in shown.depths
    )
    marks = "".join(f"<li>{escape(mark.text)}</li>" for mark in shown.marks)
    yield f'<div class="scroll">{drawing.svg}<ol>{marks}</ol>{depths}</div>'
    if shown.marks_all > MARKS_MAX:
        yield f"<p>The first {MARKS_MAX} of {shown.marks_all:,} faults are shown.</p>"


def _word(result: Result) -> str:
    kind = "good" if result.passed else "bad"
    return f'<span class="verdict {kind}">{outcome(result).word}</span>'


def _holds(holds: bool) -> str:
    return '<b class="good">holds</b>' if holds else '<b class="bad">BROKEN</b>'
