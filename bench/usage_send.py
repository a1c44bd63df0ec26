"""What a call of `Producer.send` takes, with a queue that is well and with one that is silent."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import http_load, processes
from bench.bars import Bar
from bench.counting import instructions_each, python_calls
from bench.usage_logs import make_logs
from bench.usage_producer import Made
from bench.usage_send_subject import Answer, Question, make_unsent_calls
from bench.usage_sizes import Sizes
from forebay.producer import ProducerSettings, WhenFull

#: The paces at which single calls are timed, a second.
PACES = (1_000, 50_000)

#: The bars: calls a second of one process, and the 99.9th percentile of a call at the higher pace.
CALLS_PER_S, P999_US = 1_000_000, 20

#: A buffer that holds all calls of a measurement.
_ROOMY, _ROOMY_BYTES = 20_000_000, 8 * 1024**3

#: How many calls are counted.
_COUNTED = 20_000

#: What a measurement may take beside its calls, in seconds.
_AROUND_S = 60

_HEALTHY, _SILENT, _SPILLING = "answers", "silent", "silent, spilling"


class Row(Struct):
    """One measurement."""

    #: Who calls, and how the queue is.
    subject: str
    queue: str
    per_second: int
    answer: Answer


class Report(Struct):
    """The part as it is written to JSON."""

    paced: list[Row]
    fastest: list[Row]
    #: What one call takes of Python calls and of instructions: None where valgrind is missing.
    python_calls: float
    instructions: int | None


def run(sizes: Sizes, console: Console, _earlier: object) -> Report:
    """Measure each case, and count."""
    seconds = sizes.send_seconds
    with (
        Progress(console=console, transient=True) as progress,
        processes.broker("fsync", module="bench.counted_broker") as server,
        processes.silent_server() as silent_url,
    ):
        queue_url = uvloop.run(http_load.create_queue(server.url, "usage"))
        silent = silent_url, f"{silent_url}/000000000000/usage"
        places = {
            _HEALTHY: (server.url, queue_url),
            _SILENT: silent,
            _SPILLING: silent,
        }
        cases = list(_cases(places, seconds))
        task = progress.add_task("", total=len(cases))
        rows = []
        for subject, queue, question in cases:
            progress.update(task, description=f"send, {subject}, queue {queue}")
            with _spill(queue) as directory:
                question.made.spill = directory
                answer = processes.answer_of(
                    "bench.usage_send_subject", question, Answer, 4 * seconds + _AROUND_S
                )
            rows.append(Row(subject, queue, question.per_second, answer))
            progress.advance(task)
    with console.status("counting"):
        calls = python_calls(_count)
        instructions = instructions_each(_counting_command, _COUNTED)
    return Report(
        [row for row in rows if row.per_second],
        [row for row in rows if not row.per_second],
        calls / _COUNTED,
        instructions,
    )


def bars(report: Report) -> list[Bar]:
    """What was asked for."""
    fastest = next((row.answer for row in report.fastest if row.subject == _FASTEST), None)
    return [
        Bar(
            "send, calls/s of one process, none dropped",
            CALLS_PER_S,
            None if fastest is None else fastest.accepted / fastest.seconds,
        ),
        *(
            Bar(
                f"send, p99.9 in µs, {row.subject}, queue {row.queue}",
                P999_US,
                None if row.answer.send is None else row.answer.send.p999_us,
                at_most=True,
            )
            for row in report.paced
            if row.per_second == max(PACES)
        ),
    ]


def print_tables(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(title="Single calls of send, and of a function that does nothing, in µs")
    for heading in ("caller", "queue"):
        table.add_column(heading)
    for heading in ("calls/s", "accepted", "p50", "p99", "p99.9", "max", "nothing: p50"):
        table.add_column(heading, justify="right")
    for heading in ("p99.9", "max"):
        table.add_column(heading, justify="right")
    for row in report.paced:
        send, empty = row.answer.send, row.answer.empty
        assert send is not None
        assert empty is not None
        table.add_row(
            row.subject,
            row.queue,
            f"{row.per_second:,}",
            f"{row.answer.accepted:,} of {row.answer.calls:,}",
            *(f"{value:,.1f}" for value in (send.p50_us, send.p99_us, send.p999_us, send.max_us)),
            *(f"{value:,.2f}" for value in (empty.p50_us, empty.p999_us, empty.max_us)),
        )
    console.print(table)
    table = Table(title="As many calls of send as there can be, from one thread")
    table.add_column("producer")
    for heading in ("calls/s", "µs a call", "accepted/s", "delivered/s meanwhile"):
        table.add_column(heading, justify="right")
    for heading in ("CPU µs a call: the caller's", "the process's"):
        table.add_column(heading, justify="right")
    for row in report.fastest:
        answer = row.answer
        cpu_us = [
            "-" if cpu_s is None else f"{cpu_s * 1e6 / answer.calls:.2f}"
            for cpu_s in (answer.caller_cpu_s, answer.process_cpu_s)
        ]
        table.add_row(
            row.subject,
            f"{answer.calls / answer.seconds:,.0f}",
            f"{answer.seconds * 1e6 / answer.calls:.2f}",
            f"{answer.accepted / answer.seconds:,.0f}",
            f"{answer.ledger.delivered / answer.seconds:,.0f}",
            *cpu_us,
        )
    console.print(table)
    instructions = "not counted" if report.instructions is None else f"{report.instructions:,}"
    console.print(
        f"A call that is only buffered: {report.python_calls:.1f} Python calls,"
        f" {instructions} instructions.",
        highlight=False,
    )


_FASTEST = "packed, room for all"


def _cases(
    places: dict[str, tuple[str, str]], seconds: float
) -> Iterator[tuple[str, str, Question]]:
    for subject, in_loop in (("thread beside", False), ("in the loop", True)):
        for queue in (_HEALTHY, _SILENT, _SPILLING):
            for pace in PACES:
                when_full = WhenFull.SPILL if queue == _SPILLING else WhenFull.DROP
                made = Made(*places[queue], ProducerSettings(when_full=when_full))
                yield subject, queue, Question(made, seconds, pace, in_loop)
    roomy = ProducerSettings(buffer_size=_ROOMY, buffer_bytes=_ROOMY_BYTES)
    healthy = places[_HEALTHY]
    for subject, made in (
        (_FASTEST, Made(*healthy, roomy)),
        ("packed, buffer of 50,000", Made(*healthy, ProducerSettings())),
        ("a message each, room for all", Made(*healthy, roomy, packed=False)),
    ):
        yield subject, _HEALTHY, Question(made, seconds)


@contextmanager
def _spill(queue: str) -> Iterator[str | None]:
    """A directory to spill to, for the queue that needs one."""
    if queue != _SPILLING:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory:
        yield str(Path(directory) / "spill")


async def _count(begin: Callable[[], None], end: Callable[[], None]) -> None:
    await make_unsent_calls(make_logs(_COUNTED), _COUNTED, begin, end)


def _counting_command(count: int) -> list[str]:
    question = Question(Made("", "", ProducerSettings()), 0, unsent=count)
    return ["-m", "bench.usage_send_subject", msgspec.json.encode(question).decode()]
