"""What one request costs the broker, counted: this is what a change to its path is judged by."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import path_subject
from bench.counting import instructions_each, python_calls
from forebay.broker.journal.base import Durability

#: How many requests of each action are made in a run, and how many connections make them.
SUBJECTS = [("send", 1), ("send", 32), ("receive", 1), ("delete", 1)]

#: Requests of the shorter of two runs; the longer one makes twice as many.
REQUESTS = 640

_PURPOSES = {
    "send": "SendMessage of 1 KiB",
    "receive": "ReceiveMessage of ten",
    "delete": "DeleteMessageBatch of ten",
}


class Row(Struct):
    """One line of the table: what one request costs."""

    action: str
    connections: int
    durability: str
    python_calls: float
    #: None where valgrind is missing.
    instructions: int | None


class Report(Struct):
    """The counts as they are written to JSON."""

    requests: int
    rows: list[Row]


def run(console: Console) -> Report:
    """Count every action at every durability."""
    rows = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("counting", total=len(SUBJECTS) * len(Durability))
        for action, connections in SUBJECTS:
            for durability in Durability:
                progress.update(task, description=f"{action}, {durability.value}")
                subject = ["-m", "bench.path_subject", action, durability.value, str(connections)]
                calls = python_calls(partial(_work, action, durability, connections)) / REQUESTS
                instructions = instructions_each(partial(_command, subject), REQUESTS)
                rows.append(Row(action, connections, durability.value, calls, instructions))
                progress.advance(task)
    return Report(REQUESTS, rows)


def print_table(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(title="One request through the broker, without a socket")
    table.add_column("request")
    for heading in ("connections", "durability", "Python calls", "instructions"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            _PURPOSES[row.action],
            str(row.connections),
            row.durability,
            f"{row.python_calls:.1f}",
            "not counted" if row.instructions is None else f"{row.instructions:,}",
        )
    console.print(table)
    if any(row.instructions is None for row in report.rows):
        console.print("Instructions are counted by valgrind, which is not installed.")


def _command(subject: list[str], requests: int) -> list[str]:
    return [*subject, str(requests), str(2 * REQUESTS)]


def _work(
    action: str,
    durability: Durability,
    connections: int,
    begin: Callable[[], None],
    end: Callable[[], None],
) -> Coroutine[Any, Any, None]:
    return path_subject.answer_requests(
        action,
        durability,
        connections=connections,
        requests=REQUESTS,
        prepared=REQUESTS,
        begin=begin,
        end=end,
    )
