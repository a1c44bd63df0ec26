"""The memory of a process that logs while its queue is away: with a spill, and with drops."""

from __future__ import annotations

import tempfile
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import processes, usage_offer
from bench.barrier import ask_together
from bench.bars import Bar
from bench.usage_offer import Sample
from bench.usage_producer import Made
from bench.usage_sizes import Sizes
from forebay.producer import ProducerLedger, ProducerSettings, WhenFull

#: How fast each process logs, a second.
PER_SECOND = 20_000

#: What the memory may grow by in the second half of the time, in MB.
GROWTH_MB = 8

#: How many lines the table has.
_LINES = 12

#: What the processes may take beside their load, in seconds.
_AROUND_S = 60.0

_KINDS = {
    "spill": ProducerSettings(when_full=WhenFull.SPILL),
    "drop": ProducerSettings(when_full=WhenFull.DROP),
}


class Watched(Struct):
    """One process."""

    kind: str
    samples: list[Sample]
    ledger: ProducerLedger

    @property
    def growth_mb(self) -> float:
        """What the memory grew by in the second half of the time."""
        middle_s = (self.samples[0].at_s + self.samples[-1].at_s) / 2
        middle = next(sample for sample in self.samples if sample.at_s >= middle_s)
        return self.samples[-1].resident_mb - middle.resident_mb


class Report(Struct):
    """The part as it is written to JSON."""

    seconds: float
    per_second: int
    watched: list[Watched]


def run(sizes: Sizes, console: Console, _earlier: object) -> Report:
    """Let both processes log at once, to a queue that never answers."""
    seconds = sizes.memory_seconds
    with (
        console.status("memory while the queue is away"),
        processes.silent_server() as url,
        tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory,
    ):
        questions = [
            usage_offer.Question(
                Made(
                    url,
                    f"{url}/000000000000/usage",
                    settings,
                    spill=str(Path(directory) / kind) if kind == "spill" else None,
                ),
                PER_SECOND,
                seconds,
                drain_s=0.0,
                sample_s=seconds / _LINES,
            )
            for kind, settings in _KINDS.items()
        ]
        _, futures = ask_together(
            "bench.usage_offer", questions, usage_offer.Answer, 2 * seconds + _AROUND_S
        )
        answers = [future.result() for future in futures]
    watched = [
        Watched(kind, answer.samples, answer.ledger)
        for kind, answer in zip(_KINDS, answers, strict=True)
    ]
    return Report(seconds, PER_SECOND, watched)


def bars(report: Report) -> list[Bar]:
    """What was asked for: memory stays flat, and nothing is lost while there is room to spill."""
    spilling = next(each for each in report.watched if each.kind == "spill")
    return [
        *(
            Bar(
                f"memory, growth in the second half with {each.kind}, MB",
                GROWTH_MB,
                each.growth_mb,
                at_most=True,
            )
            for each in report.watched
        ),
        Bar(
            "memory, logs dropped with spill",
            0,
            sum(spilling.ledger.dropped.values()),
            at_most=True,
        ),
    ]


def print_tables(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(
        title=f"{report.per_second:,} logs/s for {report.seconds:g} s in each of two processes,"
        " the queue silent"
    )
    table.add_column("after", justify="right")
    for each in report.watched:
        for heading in ("MB", "buffered", "spilled" if each.kind == "spill" else "dropped"):
            table.add_column(f"{each.kind}: {heading}", justify="right")
    begun_s = report.watched[0].samples[0].at_s
    for row in zip(*(each.samples for each in report.watched), strict=False):
        table.add_row(
            f"{row[0].at_s - begun_s:.1f} s",
            *(
                figure
                for sample in row
                for figure in (
                    f"{sample.resident_mb:,.1f}",
                    f"{sample.buffered:,}",
                    f"{max(sample.spilled, sample.lost):,}",
                )
            ),
        )
    console.print(table)
