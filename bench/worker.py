"""No-op handlers of Forebay and its peers on one fsync broker: messages/s, processor time, calls.

Each subject gets a queue with the same backlog, one after the other in every round, so that a
change in the machine's speed meets them all; the table shows medians over the rounds. What is
measured is what the broker saw: from the first receive to the answer of the last delete. A subject
that has not emptied its queue after `seconds` is measured by what it had deleted by then.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import backlog, broker_counts, http_load, processes
from bench.backlog import Template
from bench.bars import Bar
from bench.broker_counts import Counts
from bench.worker_subjects import CELERY, FAMILIES, FOREBAY, SQS_CONSUMER, Subject, environment

#: Longer than a measurement, so that nothing is delivered twice. In seconds.
VISIBILITY_TIMEOUT_S = 3600

#: How long a worker may take to its first receive, in seconds.
START_S = 60

#: How long it is given to end, in seconds.
END_S = 5

#: How often the processor time of a worker that starts is read, and the broker's counts of one
#: that works, in seconds.
_STARTING_EVERY_S, _WORKING_EVERY_S = 0.05, 0.25


class NotMeasured(Exception):
    """A subject did not do what was to be measured, and why."""


class Run(Struct):
    """One measurement of one subject."""

    messages: int
    seconds: float
    cpu_s: float
    #: Of the worker to its queue, by action.
    calls: dict[str, int]

    @property
    def per_second(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time of a message, in milliseconds."""
        return self.cpu_s * 1000 / self.messages

    @property
    def calls_each(self) -> float:
        """Calls of a message."""
        return sum(self.calls.values()) / self.messages


class Row(Struct):
    """One line of the table: medians over the rounds."""

    family: str
    subject: str
    settings: str
    per_second: float
    cpu_ms: float
    calls_each: float
    rounds: list[Run]


class Report(Struct):
    """The benchmark as it is written to JSON."""

    backlog: int
    rounds: int
    seconds_max: float
    rows: list[Row]
    bars: list[Bar]
    #: Subjects that were not measured, each with the reason.
    not_measured: list[str]


def run(messages: int, rounds: int, seconds: float, wanted: str, console: Console) -> Report:
    """Measure every subject whose name has `wanted`, in every round."""
    subjects, missing = _subjects(wanted, console)
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    with (
        Progress(console=console, transient=True) as progress,
        processes.broker("fsync", module="bench.counted_broker") as server,
    ):
        task = progress.add_task("", total=rounds * len(subjects))
        templates: dict[str, Template] = {}
        failed: set[str] = set()
        for number in range(rounds):
            for subject in subjects:
                progress.update(task, description=subject.name)
                progress.advance(task)
                if subject.name in failed:
                    continue
                queue = f"{_queue_name(subject)}-{number}"
                try:
                    if subject.name not in templates:
                        templates[subject.name] = _template(server, subject)
                    template = templates[subject.name]
                    measured = _measure(server, subject, queue, template, messages, seconds)
                except NotMeasured as reason:
                    failed.add(subject.name)
                    missing.append(f"{subject.name} ({reason})")
                else:
                    runs[subject.name].append(measured)
    rows = [_row(subject, runs[subject.name]) for subject in subjects if runs[subject.name]]
    return Report(messages, rounds, seconds, rows, _bars(rows), missing)


def print_table(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(
        title=f"no-op handlers, backlog of {report.backlog:,} messages, fsync,"
        f" median of {report.rounds} rounds of at most {report.seconds_max:g} s"
    )
    table.add_column("worker")
    for heading in ("messages/s", "CPU ms a message", "calls a message", "messages"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            row.subject,
            f"{row.per_second:,.0f}",
            f"{row.cpu_ms:.3f}",
            f"{row.calls_each:.2f}",
            f"{min(run.messages for run in row.rounds):,}",
        )
    console.print(table)
    for row in report.rows:
        console.print(f"{row.subject}: {row.settings}", highlight=False)
    for bar in report.bars:
        console.print(bar.verdict, highlight=False)
    if report.not_measured:
        console.print(f"Not measured: {'; '.join(report.not_measured)}.", highlight=False)


def _subjects(wanted: str, console: Console) -> tuple[list[Subject], list[str]]:
    """Install what can be installed; what cannot comes with its reason."""
    subjects: list[Subject] = []
    missing: list[str] = []
    for family in FAMILIES:
        if wanted.lower() not in family.name.lower():
            continue
        try:
            with console.status(f"installing {family.name}"):
                subjects += family.install()
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            missing.append(f"{family.name} ({str(error).strip().splitlines()[-1]})")
    return subjects, missing


def _template(server: processes.Server, subject: Subject) -> Template:
    if not subject.send:
        return Template(subject.body)
    queue = f"{_queue_name(subject)}-template"
    queue_url = uvloop.run(
        http_load.create_queue(server.url, queue, VisibilityTimeout=VISIBILITY_TIMEOUT_S)
    )
    done = subprocess.run(
        subject.send,
        env=environment(server.url, queue, queue_url),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    if done.returncode != 0:
        raise NotMeasured(f"it could not send:\n{done.stdout}{done.stderr}")
    return uvloop.run(_take_template(server.url, queue, queue_url))


def _measure(
    server: processes.Server,
    subject: Subject,
    queue: str,
    template: Template,
    messages: int,
    seconds: float,
) -> Run:
    queue_url = uvloop.run(
        http_load.create_queue(server.url, queue, VisibilityTimeout=VISIBILITY_TIMEOUT_S)
    )
    uvloop.run(backlog.send(server.url, [(queue, queue_url, template)] * messages))
    before = broker_counts.read(server.url, queue)
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory:
        log = Path(directory) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                subject.command,
                cwd=directory,
                env=environment(server.url, queue, queue_url),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            measured = _watch(server, process.pid, queue, messages, seconds, before)
        finally:
            processes.end_family(process, END_S)
            uvloop.run(http_load.delete_queue(server.url, queue_url))
        if measured is None or not measured.messages:
            raise NotMeasured(f"it deleted nothing; it said:\n{log.read_text()[-2000:]}")
    return measured


def _watch(
    server: processes.Server,
    pid: int,
    queue: str,
    messages: int,
    seconds: float,
    before: Counts,
) -> Run | None:
    """Wait for the first receive, then for the last delete or for the end of the time.

    None when there is no receive within START_S.
    """
    cpu_before_s = 0.0
    start_by_s = time.monotonic() + START_S
    while True:
        sampled_s, cpu_s = time.monotonic(), processes.cpu_s(pid)
        started_s = broker_counts.read(server.url, queue).first_receive_s
        if started_s is None or sampled_s <= started_s:
            cpu_before_s = cpu_s
        if started_s is not None:
            break
        if sampled_s > start_by_s:
            return None
        time.sleep(_STARTING_EVERY_S)
    deadline_s = started_s + seconds
    while True:
        now_s, cpu_s = time.monotonic(), processes.cpu_s(pid)
        counts = broker_counts.read(server.url, queue)
        if counts.deleted >= messages:
            assert counts.last_delete_s is not None
            ended_s = counts.last_delete_s
            cpu_s = processes.cpu_s(pid)
            break
        if now_s >= deadline_s:
            ended_s = now_s
            break
        time.sleep(_WORKING_EVERY_S)
    calls = {
        action: count - before.calls.get(action, 0)
        for action, count in counts.calls.items()
        if count > before.calls.get(action, 0)
    }
    return Run(counts.deleted, ended_s - started_s, cpu_s - cpu_before_s, calls)


def _row(subject: Subject, runs: list[Run]) -> Row:
    return Row(
        subject.family,
        subject.name,
        subject.settings,
        statistics.median(run.per_second for run in runs),
        statistics.median(run.cpu_ms for run in runs),
        statistics.median(run.calls_each for run in runs),
        runs,
    )


def _bars(rows: list[Row]) -> list[Bar]:
    """Forebay as it is without options, beside the best of each peer."""
    own = next((row.per_second for row in rows if row.subject == FOREBAY), None)

    def ratio_to(family: str) -> float | None:
        best = max((row.per_second for row in rows if row.family == family), default=None)
        return None if own is None or best is None else own / best

    return [
        Bar("Forebay, messages/s", 10_000, own),
        Bar(f"Forebay to the best {SQS_CONSUMER}", 3, ratio_to(SQS_CONSUMER)),
        Bar(f"Forebay to the best {CELERY}", 10, ratio_to(CELERY)),
    ]


def _queue_name(subject: Subject) -> str:
    return re.sub(r"\W+", "-", subject.name.replace("×", "x"))


async def _take_template(url: str, queue: str, queue_url: str) -> Template:
    async with http_load.Client(url) as client:
        answer = await client.ask(
            "ReceiveMessage", QueueUrl=queue_url, WaitTimeSeconds=5, MessageAttributeNames=["All"]
        )
        [message] = answer["Messages"]
        await client.ask("DeleteQueue", QueueUrl=queue_url)
    return Template(message["Body"], message.get("MessageAttributes", {}), queue)
