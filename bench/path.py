"""What one request costs the broker, counted: Python calls and processor instructions.

A machine's speed changes by the minute and counts do not, so this is what a change to the request
path is judged by. Instructions are those of the whole process, every thread and SQLite included,
and of the kernel none; valgrind counts them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import path_subject
from forebay.broker.journal.base import Durability

#: How many requests of each action are made in a run, and how many connections make them.
SUBJECTS = [("send", 1), ("send", 32), ("receive", 1), ("delete", 1)]

#: Requests of the shorter of two runs; the longer one makes twice as many.
REQUESTS = 640

_INSTRUCTIONS = re.compile(rb"I\s+refs:\s+([\d,]+)")

#: The packages whose calls are the counting's own.
_NOT_OURS = ("bench",)

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
    valgrind = shutil.which("valgrind")
    with Progress(console=console, transient=True) as progress, ThreadPoolExecutor(2) as pool:
        task = progress.add_task("counting", total=len(SUBJECTS) * len(Durability))
        for action, connections in SUBJECTS:
            for durability in Durability:
                case = (action, durability, connections)
                progress.update(task, description=f"{action}, {durability.value}")
                instructions = None
                if valgrind is not None:
                    runs = [
                        pool.submit(_instructions, valgrind, *case, requests)
                        for requests in (REQUESTS, 2 * REQUESTS)
                    ]
                    fewer, more = (run.result() for run in runs)
                    instructions = (more - fewer) // REQUESTS
                calls = _python_calls(*case) / REQUESTS
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


def _python_calls(action: str, durability: Durability, connections: int) -> int:
    """The calls of Python functions, in every thread, but for those of the bench itself."""
    calls = 0
    counting = False

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal calls
        if counting and event == "call" and frame.f_globals.get("__package__") not in _NOT_OURS:
            calls += 1

    def begin() -> None:
        nonlocal counting
        counting = True

    def end() -> None:
        nonlocal counting
        counting = False

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        uvloop.run(
            path_subject.answer_requests(
                action,
                durability,
                connections=connections,
                requests=REQUESTS,
                prepared=REQUESTS,
                begin=begin,
                end=end,
            )
        )
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return calls


def _instructions(
    valgrind: str, action: str, durability: Durability, connections: int, requests: int
) -> int:
    """The instructions of a whole run."""
    command = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, "-m", "bench.path_subject", action, durability.value]
    command += [str(connections), str(requests), str(2 * REQUESTS)]
    done = subprocess.run(command, check=True, stderr=subprocess.PIPE)
    found = _INSTRUCTIONS.search(done.stderr)
    if found is None:
        raise RuntimeError(f"valgrind counted nothing: {done.stderr.decode()}")
    return int(found[1].replace(b",", b""))
