"""Our producer beside OpenTelemetry's batch processor and the logging module's queue.

Each subject in a process of its own, one after the other, at the same loads and to the same broker.
What arrived is what the broker counted.
"""

from __future__ import annotations

import os
import tempfile
from unittest import mock

import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import broker_counts, http_load, processes
from bench.bars import Bar
from bench.usage_peer_subject import SUBJECTS, Answer, Question
from bench.usage_sizes import Sizes
from bench.worker_subjects import AWS

#: The loads, in logs a second; 0 for as much as there can be.
LOADS = (2_000, 20_000, 0)

#: How long a subject may send what is left after its load, in seconds.
DRAIN_S = 10.0

#: What a measurement may take beside load and drain, in seconds.
_AROUND_S = 60

_OWN = "Forebay"


class Row(Struct):
    """One subject under one load."""

    subject: str
    load: int
    answer: Answer
    arrived: int
    #: Requests of it as AWS bills them.
    billed: int

    @property
    def lost(self) -> int:
        """0 also when some on the disk have arrived already, unacknowledged: they come twice."""
        return max(0, self.answer.offered - self.arrived - self.answer.on_disk)

    @property
    def cpu_us(self) -> float | None:
        """Processor time of a log that arrived, in microseconds."""
        return self.answer.cpu_s * 1e6 / self.arrived if self.arrived else None

    @property
    def arrived_per_s(self) -> float:
        return self.arrived / (self.answer.offering_s + self.answer.ending_s)


class Report(Struct):
    """The part as it is written to JSON."""

    seconds: float
    drain_s: float
    rows: list[Row]


def run(sizes: Sizes, console: Console, _earlier: object) -> Report:
    """Let every subject offer each load."""
    seconds = sizes.peer_seconds
    rows: list[Row] = []
    with (
        Progress(console=console, transient=True) as progress,
        tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory,
        mock.patch.dict(os.environ, AWS),
        processes.broker("fsync", module="bench.counted_broker") as server,
    ):
        task = progress.add_task("", total=len(LOADS) * len(SUBJECTS))
        for load in LOADS:
            for subject in SUBJECTS:
                progress.update(task, description=f"{subject}, {_said(load)}")
                rows.append(_measure(server, subject, load, seconds, f"{directory}/{len(rows)}"))
                progress.advance(task)
    return Report(seconds, DRAIN_S, rows)


def bars(report: Report) -> list[Bar]:
    """What was asked for: nothing accepted is lost."""
    return [
        Bar(
            f"{row.subject} at {_said(row.load)}, accepted logs lost",
            0,
            max(0, row.answer.accepted - row.arrived - row.answer.on_disk),
            at_most=True,
        )
        for row in report.rows
        if row.subject.startswith(_OWN)
    ]


def print_tables(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(
        title=f"One thread offers logs for {report.seconds:g} s;"
        f" then there are at most {report.drain_s:g} s to send what is left"
    )
    for heading in ("load", "producer"):
        table.add_column(heading)
    for heading in ("offered/s", "accepted/s", "arrived/s", "on disk", "lost", "it says"):
        table.add_column(heading, justify="right")
    for heading in ("CPU µs", "billed"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        answer = row.answer
        table.add_row(
            _said(row.load),
            row.subject,
            f"{answer.offered / answer.offering_s:,.0f}",
            f"{answer.accepted / answer.offering_s:,.0f}",
            f"{row.arrived_per_s:,.0f}",
            f"{answer.on_disk:,}",
            f"{row.lost:,}",
            "nothing" if answer.counted_lost is None else f"{answer.counted_lost:,}",
            "-" if row.cpu_us is None else f"{row.cpu_us:,.1f}",
            f"{row.billed:,}",
            end_section=row.subject == list(SUBJECTS)[-1],
        )
    console.print(table)
    console.print(
        "accepted: what the call did not refuse. it says: how many losses it counted itself."
        " CPU: of its process, for a log that arrived. billed: sends of 64 KiB.\n"
        "OpenTelemetry exports through boto3, ten messages a call from its one thread, and so does"
        " the QueueListener.",
        highlight=False,
    )


def _measure(
    server: processes.Server, subject: str, load: int, seconds: float, directory: str
) -> Row:
    queue = f"peer-{list(SUBJECTS).index(subject)}-{load}"
    queue_url = uvloop.run(http_load.create_queue(server.url, queue))
    question = Question(subject, server.url, queue_url, load, seconds, DRAIN_S, directory)
    patience_s = seconds + DRAIN_S + _AROUND_S
    answer = processes.answer_of("bench.usage_peer_subject", question, Answer, patience_s)
    counts = broker_counts.read(server.url, queue)
    uvloop.run(http_load.delete_queue(server.url, queue_url))
    return Row(subject, load, answer, counts.events, counts.billed.get("SendMessageBatch", 0))


def _said(load: int) -> str:
    return f"{load:,}/s" if load else "most speed"
