"""A burst over three priorities: how old high messages get, and whether low ones starve.

All messages are sent as fast as the broker takes them, to a worker that is already there. The age
of a message runs from its send to the beginning of its handler. A class starves when none of its
messages begins for long although some wait: its longest gap tells.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import backlog, broker_counts, http_load, processes
from bench.backlog import Template
from bench.bars import Bar
from bench.broker_counts import Counts
from bench.percentiles import percentile
from bench.worker_apps.spike_app import Handled
from bench.worker_subjects import envelope, environment

#: The part of the burst that goes to each queue.
SHARES = {"high": 0.1, "medium": 0.3, "low": 0.6}

#: Slices of the burst, in the order of sending, whose ages are compared.
SLICES = 10

#: How old the high class may get at its 99th percentile, and how long a class may get no turn, ms.
HIGH_AGE_MS, GAP_MS = 1_000, 1_000

#: How long the worker may take to start, and to empty the queues, in seconds.
START_S, WORK_S = 60, 300


#: How often the plot has a point, and how long it goes on before and after the burst, in seconds.
_LOOK_EVERY_S, _CALM_S = 0.5, 3

_FOREBAY_WORKER = (sys.executable, "-m", "forebay", "worker")


class Row(Struct):
    """One class."""

    queue: str
    messages: int
    age_p50_ms: float
    age_p99_ms: float
    age_max_ms: float
    #: The longest time in which none of its messages began although there were some.
    gap_ms: float
    #: The 99th percentile of the age in each slice of the burst.
    slices_p99_ms: list[float]


class Report(Struct):
    """The benchmark as it is written to JSON."""

    messages: int
    work_ms: float
    burst_s: float
    #: From the first send to the beginning of the last handler.
    seconds: float
    rows: list[Row]
    bars: list[Bar]


def run(messages: int, work_ms: float, console: Console, plot: Path | None = None) -> Report:
    """Send the burst to a worker, and look at what it handled when.

    With `plot`, `forebay worker watch` draws it into that file.
    """
    with (
        tempfile.TemporaryDirectory(prefix="forebay-spike-") as directory,
        processes.broker("fsync", module="bench.counted_broker") as server,
    ):
        urls = {queue: uvloop.run(http_load.create_queue(server.url, queue)) for queue in SHARES}
        variables = {"SPIKE_WORK_S": str(work_ms / 1000), "SPIKE_NOTES": directory}
        port = processes.free_port()
        process = subprocess.Popen(
            [*_FOREBAY_WORKER, "run", "spike_app:worker", "--port", str(port)],
            env=environment(server.url, "", "") | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with ExitStack() as stack:
            stack.callback(processes.end_family, process, START_S)
            with console.status("the worker starts"):
                _wait(lambda: all(count.first_receive_s for count in _counts(server)), START_S)
            if plot is not None:
                stack.enter_context(_watched(port, plot))
            started_s = time.monotonic()
            with console.status("the burst"):
                uvloop.run(backlog.send(server.url, _burst(urls, messages)))
            burst_s = time.monotonic() - started_s
            with console.status("the rest of the work"):
                _wait(lambda: sum(count.deleted for count in _counts(server)) >= messages, WORK_S)
        handled = [
            one
            for notes in Path(directory).glob("*.json")
            for one in msgspec.json.decode(notes.read_bytes(), type=list[Handled])
        ]
    return _report(handled, work_ms, burst_s)


def print_table(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(
        title=f"a burst of {report.messages:,} messages in {report.burst_s:.1f} s, handlers of"
        f" {report.work_ms:g} ms, all begun after {report.seconds:.1f} s"
    )
    table.add_column("class")
    for heading in ("messages", "age p50 ms", "age p99 ms", "age max ms", "longest gap ms"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        figures = (row.age_p50_ms, row.age_p99_ms, row.age_max_ms, row.gap_ms)
        table.add_row(row.queue, f"{row.messages:,}", *(f"{figure:,.0f}" for figure in figures))
    console.print(table)
    for row in report.rows:
        slices = ", ".join(f"{age_ms:,.0f}" for age_ms in row.slices_p99_ms)
        console.print(f"{row.queue}: p99 age of each tenth of its messages, ms: {slices}")
    for bar in report.bars:
        console.print(bar.verdict, highlight=False)


@contextmanager
def _watched(port: int, plot: Path) -> Iterator[None]:
    """Watch the workers until a little after the end of the block, and draw what was seen."""
    url = f"http://127.0.0.1:{port}"
    watch = subprocess.Popen(
        [*_FOREBAY_WORKER, "watch", url, "--every", str(_LOOK_EVERY_S), "--plot", str(plot)],
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(_CALM_S)
        yield
        time.sleep(_CALM_S)
        # As Ctrl-C does.
        watch.send_signal(signal.SIGINT)
        watch.wait(START_S)
    finally:
        watch.kill()
        watch.wait()


def _burst(urls: Mapping[str, str], messages: int) -> list[tuple[str, str, Template]]:
    """The messages in the order in which they are sent: every class all the time."""
    template = Template(envelope("work"))
    queues = random.Random(1).choices(list(SHARES), list(SHARES.values()), k=messages)
    return [(queue, urls[queue], template) for queue in queues]


def _counts(server: processes.Server) -> list[Counts]:
    return [broker_counts.read(server.url, queue) for queue in SHARES]


def _wait(condition: Callable[[], bool], patience_s: float) -> None:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"The worker is not done after {patience_s:g} s.")
        time.sleep(0.1)


def _report(handled: Sequence[Handled], work_ms: float, burst_s: float) -> Report:
    by_queue: defaultdict[str, list[Handled]] = defaultdict(list)
    for one in sorted(handled, key=lambda one: one.sent_at_ms):
        by_queue[one.queue].append(one)
    rows = [_row(queue, by_queue[queue]) for queue in SHARES]
    high = rows[0]
    bars = [
        Bar("p99 age of the high class, ms", HIGH_AGE_MS, high.age_p99_ms, at_most=True),
        *(
            Bar(f"longest gap of the {row.queue} class, ms", GAP_MS, row.gap_ms, at_most=True)
            for row in rows
        ),
    ]
    first_ms = min(one.sent_at_ms for one in handled)
    last_ms = max(one.began_at_ms for one in handled)
    return Report(len(handled), work_ms, burst_s, (last_ms - first_ms) / 1000, rows, bars)


def _row(queue: str, handled: Sequence[Handled]) -> Row:
    ages_ms = [one.began_at_ms - one.sent_at_ms for one in handled]
    began_ms = sorted(one.began_at_ms for one in handled)
    gap_ms = max(
        later - earlier
        for earlier, later in zip([handled[0].sent_at_ms, *began_ms], began_ms, strict=False)
    )
    size = max(1, len(ages_ms) // SLICES)
    slices = [ages_ms[start : start + size] for start in range(0, size * SLICES, size)]
    return Row(
        queue,
        len(handled),
        percentile(ages_ms, 50),
        percentile(ages_ms, 99),
        max(ages_ms),
        gap_ms,
        [percentile(ages, 99) for ages in slices if ages],
    )
