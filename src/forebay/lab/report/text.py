"""What a terminal shows of runs: how far one has come, and the verdicts of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forebay.apps.progress import Audience, BarAudience, LineAudience
from forebay.lab.report.outcome import books, outcome
from forebay.lab.runner import Result

#: On fewer columns of text the table has only what the lines above it do not say.
_NARROW = 80

_COLOURS = {"PASS": "bold green", "FAIL": "bold red"}


@contextmanager
def watching(console: Console) -> Iterator[Audience]:
    """Who watches one run: bars where they can be drawn, which go when it ends, or lines."""
    if console.is_terminal and not console.is_dumb_terminal:
        with BarAudience(console, transient=True, own_time=True) as bars:
            yield bars
    else:
        yield LineAudience(console)


def verdict_line(result: Result) -> Text:
    """How one run ended, in a line."""
    ended = outcome(result)
    remark = f", {ended.remark}" if ended.remark else ""
    reason = ended.reasons[0].partition("\n")[0]
    ledger = "; ".join(books(result)) + "; " if result.queues and result.passed else ""
    more = f" (and {len(ended.reasons) - 1:,} more)" if len(ended.reasons) > 1 else ""
    return Text.assemble(
        f"{result.scenario}, seed {result.seed}, {result.seconds:.1f} s: ",
        (str(ended.word), _COLOURS[ended.word]),
        f"{remark}: {ledger}{reason}{more}",
    )


def verdict_table(results: Sequence[Result], width: int) -> Table:
    """The verdicts of runs, each with its books and the reason, for so many columns of text."""
    narrow = width < _NARROW
    table = Table(title="Verdicts", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("scenario", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for heading in () if narrow else ("seconds", "seed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("ledger, and the reason", overflow="fold")
    for result in results:
        ended = outcome(result)
        table.add_row(
            Text(result.scenario),
            Text(ended.word, _COLOURS[ended.word]),
            *(() if narrow else (f"{result.seconds:.1f}", f"{result.seed}")),
            Text("\n").join(_reasons(result)),
        )
    return table


def conclusion(results: Sequence[Result], *, not_ended: int = 0) -> Text:
    """How many runs passed; `not_ended` were to be done as well and were stopped."""
    failed = sum(not result.passed for result in results)
    runs = f"{len(results):,} run" + ("" if len(results) == 1 else "s")
    text = f"{runs}: {len(results) - failed:,} passed, {failed:,} failed"
    text += f", and {not_ended:,} stopped before the end." if not_ended else "."
    return Text(text, _COLOURS["FAIL" if failed or not_ended else "PASS"])


def _reasons(result: Result) -> Iterator[Text]:
    ended = outcome(result)
    if ended.remark:
        yield Text(f"{ended.remark[0].upper()}{ended.remark[1:]}:", "bold")
    for each in books(result):
        yield Text(each)
    for reason in ended.reasons:
        yield Text(reason, "" if ended.word == "PASS" else "red")
