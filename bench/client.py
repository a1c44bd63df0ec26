"""What one call costs our client, against a server that costs it nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import client_subject
from bench.counting import instructions_each, python_calls
from bench.processes import canned_server

#: What is called, and how many calls are under way at once.
SUBJECTS = [("receive", 1), ("receive", 32), ("delete", 32), ("send", 32)]

#: How many calls are counted.
CALLS = 640

#: How many calls are timed.
_TIMED_CALLS = 6_400

_PURPOSES = {
    "send": "SendMessageBatch of ten",
    "receive": "ReceiveMessage of ten",
    "delete": "DeleteMessageBatch of ten",
}


class Row(Struct):
    """One line of the table: what one call costs."""

    action: str
    connections: int
    python_calls: float
    #: None where valgrind is missing.
    instructions: int | None
    #: User and system time, in microseconds.
    processor_us: float


class Report(Struct):
    """The counts as they are written to JSON."""

    calls: int
    rows: list[Row]


def run(console: Console) -> Report:
    """Count and time every kind of call."""
    rows = []
    with Progress(console=console, transient=True) as progress, canned_server() as url:
        task = progress.add_task("counting", total=len(SUBJECTS))
        for action, connections in SUBJECTS:
            progress.update(task, description=f"{action}, {connections} connections")
            command = partial(_command, action, connections, url)
            calls = python_calls(partial(_work, action, connections, url)) / CALLS
            instructions = instructions_each(command, CALLS)
            timed = [sys.executable, *command(_TIMED_CALLS)]
            done = subprocess.run(timed, check=True, capture_output=True, text=True)
            rows.append(Row(action, connections, calls, instructions, float(done.stdout)))
            progress.advance(task)
    return Report(CALLS, rows)


def print_table(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(title="One call of the client, in bodies of 1 KiB")
    table.add_column("call")
    for heading in ("at once", "Python calls", "instructions", "processor"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            _PURPOSES[row.action],
            str(row.connections),
            f"{row.python_calls:.1f}",
            "not counted" if row.instructions is None else f"{row.instructions:,}",
            f"{row.processor_us:.0f} µs",
        )
    console.print(table)


def _command(action: str, connections: int, url: str, calls: int) -> list[str]:
    return ["-m", "bench.client_subject", action, str(connections), str(calls), url]


async def _work(
    action: str, connections: int, url: str, begin: Callable[[], None], end: Callable[[], None]
) -> None:
    await client_subject.make_calls(
        action, url, connections=connections, calls=CALLS, begin=begin, end=end
    )
