"""`python -m bench.deep`: how a durable queue serves when millions of messages are in it.

The tables are filled directly, because only their depth matters; then a broker is started on them
and measured over HTTP, in turns with the same broker on an empty queue.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import http_load, processes
from bench.broker import FIFO_GROUPS, body, measure_fifo_life_cycle, measure_life_cycle
from forebay.broker.core.changes import ChangeSet, MessageRow, QueueRecord, Tally
from forebay.broker.journal.sqlite import TABLES_FILE
from forebay.broker.journal.tables import Tables
from forebay.clock import SystemClock

RESULTS = Path(__file__).parent / "results"

#: Messages that are in flight while a queue is measured.
IN_FLIGHT = 1_000

#: Messages of the quiet tenant, behind all of the noisy one's.
QUIET_MESSAGES = 1_000

#: Messages of the message group that is blocked, before all of the others'. AWS looks for messages
#: of other groups among the first 120,000.
BLOCKED_MESSAGES = 100_000

#: Messages of one commit while the tables are filled.
_FILLED_AT_ONCE = 20_000


class Subject(Struct, frozen=True):
    """A kind of backlog."""

    name: str
    #: The message group of a message, from its sequence and the number of messages.
    group: Callable[[int, int], str | None] = lambda _, __: None
    fifo: bool = False
    #: How far off the last message's delay ends, in ms; the first one's ends after two thirds.
    delay_ms: int = 0
    purged: bool = False
    #: The message group in front of all others, which must be found nevertheless.
    in_front: str | None = None

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return "bench.fifo" if self.fifo else "bench"


def _noisy_then_quiet(sequence: int, messages: int) -> str:
    return "quiet" if sequence > messages - QUIET_MESSAGES else "noisy"


def _blocked_then_others(sequence: int, messages: int) -> str:
    in_front = sequence <= min(BLOCKED_MESSAGES, messages // 2)
    return "blocked" if in_front else str(sequence % FIFO_GROUPS)


SUBJECTS = [
    Subject("waiting"),
    Subject("delayed", delay_ms=900_000),
    Subject("purged", purged=True),
    Subject("a quiet tenant behind a noisy one", _noisy_then_quiet, in_front="noisy"),
    Subject("FIFO, 10,000 groups", lambda sequence, _: str(sequence % FIFO_GROUPS), fifo=True),
    Subject("FIFO, a blocked group in front", _blocked_then_others, fifo=True, in_front="blocked"),
]


class Row(Struct):
    """What was measured on one backlog."""

    subject: str
    messages: int
    filled_per_second: float
    ready_s: float
    resident_at_start_mb: float
    resident_mb: float
    #: How many messages of the group in front were received before the first of another one;
    #: IN_FLIGHT when there was none.
    received_before: int | None
    empty_per_second: float
    deep_per_second: float
    #: The median of the ratios of the rounds.
    ratio: float


def fill(directory: Path, subject: Subject, messages: int, progress: Progress) -> None:
    """A data directory with one queue and so many messages in it."""
    directory.mkdir()
    tables = Tables(directory / TABLES_FILE)
    now_ms = SystemClock().wall_ms()
    queue = _record(subject, now_ms)
    task = progress.add_task(f"filling: {subject.name}", total=messages)
    for start in range(0, max(messages, 1), _FILLED_AT_ONCE):
        made = min(start + _FILLED_AT_ONCE, messages)
        changes = ChangeSet(
            queues={1: queue},
            messages=[_row(subject, n + 1, now_ms, messages) for n in range(start, made)],
            tallies={1: Tally(made)},
            next_sequence=made + 1,
            next_queue_number=2,
            clock_ms=now_ms,
        )
        tables.commit(changes, through=0)
        progress.update(task, completed=made)
    progress.remove_task(task)
    tables.close()


def _record(subject: Subject, now_ms: int) -> QueueRecord:
    return QueueRecord(
        number=1,
        account_id="000000000000",
        name=subject.queue,
        region="us-east-1",
        created_at_ms=now_ms,
        modified_at_ms=now_ms,
        purged_at_ms=None,
        attributes={"FifoQueue": "true"} if subject.fifo else {},
        tags={},
    )


def _row(subject: Subject, sequence: int, now_ms: int, messages: int) -> MessageRow:
    delay_ms = subject.delay_ms and subject.delay_ms * (2 + sequence / messages) / 3
    available_at_ms = now_ms + int(delay_ms)
    return (
        sequence,
        1,
        f"00000000-0000-4000-8000-{sequence:012d}",
        body(sequence % 64),
        now_ms,
        available_at_ms,
        now_ms,
        "000000000000",
        subject.group(sequence, messages),
        str(sequence) if subject.fifo else None,
        None,
        sequence if subject.fifo else available_at_ms,
    )


def measure(
    subject: Subject, messages: int, seconds: float, rounds: int, progress: Progress
) -> Row:
    """Fill, restart, and measure deep and empty in turns."""
    clock = time.perf_counter
    life_cycle = measure_fifo_life_cycle if subject.fifo else measure_life_cycle
    with tempfile.TemporaryDirectory(prefix="forebay-deep-") as folder:
        empty, deep = Path(folder, "empty"), Path(folder, "deep")
        fill(empty, subject, 0, progress)
        started = clock()
        fill(deep, subject, messages, progress)
        filled_s = clock() - started
        with processes.broker_on(empty, "fsync") as empty_server:
            started = clock()
            with processes.broker_on(deep, "fsync") as server:
                ready_s = clock() - started
                at_start_mb = processes.resident_mb(server)
                received_before = uvloop.run(_prepare(server.url, subject))
                rates = [
                    (
                        life_cycle(empty_server, seconds).per_second,
                        life_cycle(server, seconds).per_second,
                    )
                    for _ in progress.track(range(rounds), description=subject.name)
                ]
                after_mb = processes.resident_mb(server)
    return Row(
        subject.name,
        messages,
        messages / filled_s,
        ready_s,
        at_start_mb,
        after_mb,
        received_before,
        statistics.median(empty_rate for empty_rate, _ in rates),
        statistics.median(deep_rate for _, deep_rate in rates),
        statistics.median(deep_rate / empty_rate for empty_rate, deep_rate in rates),
    )


async def _prepare(url: str, subject: Subject) -> int | None:
    """Purge, or have messages in flight; how many came of the group in front, if there is one."""
    queue_url = f"{url}/000000000000/{subject.queue}"
    async with http_load.Client(url) as client:
        if subject.purged:
            await client.ask("PurgeQueue", QueueUrl=queue_url)
            return None
        received = 0
        received_before = IN_FLIGHT if subject.in_front else None
        while received < IN_FLIGHT:
            answer = await client.ask(
                "ReceiveMessage",
                QueueUrl=queue_url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=43_200,
                WaitTimeSeconds=10,
                MessageSystemAttributeNames=["MessageGroupId"],
            )
            messages = answer.get("Messages", [])
            if not messages:
                break
            for message in messages:
                group = message.get("Attributes", {}).get("MessageGroupId")
                if received_before is not None and group != subject.in_front:
                    received_before = min(received, received_before)
                received += 1
        return received_before


def main(
    messages: Annotated[int, typer.Option(help="Messages in the queue.")] = 200_000,
    seconds: Annotated[float, typer.Option(help="Length of one measurement, in seconds.")] = 2.0,
    rounds: Annotated[int, typer.Option(help="How often each queue is measured.")] = 3,
    only: Annotated[str, typer.Option(help="Part of the backlogs' names.")] = "",
) -> None:
    """Measure a deep queue beside an empty one and write bench/results/deep.json."""
    console = Console()
    subjects = [subject for subject in SUBJECTS if only in subject.name]
    if not subjects:
        names = ", ".join(subject.name for subject in SUBJECTS)
        raise typer.BadParameter(f"No backlog is called {only!r}. There are: {names}.")
    with Progress(console=console) as progress:
        rows = [
            measure(subject, messages, seconds, rounds, progress)
            for subject in progress.track(subjects, description="all backlogs")
        ]
    console.print(table(rows))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "deep.json").write_bytes(msgspec.json.format(msgspec.json.encode(rows)))


def table(rows: list[Row]) -> Table:
    """The rows for people."""
    shown = Table(title=f"{rows[0].messages:,} messages deep, fsync, life cycle in tens")
    shown.add_column("backlog")
    columns: dict[str, Callable[[Row], str]] = {
        "filled/s": lambda row: f"{row.filled_per_second:,.0f}",
        "ready s": lambda row: f"{row.ready_s:.2f}",
        "RSS at start MB": lambda row: f"{row.resident_at_start_mb:.0f}",
        "RSS after MB": lambda row: f"{row.resident_mb:.0f}",
        "received before": lambda row: (
            "" if row.received_before is None else f"{row.received_before:,}"
        ),
        "empty/s": lambda row: f"{row.empty_per_second:,.0f}",
        "deep/s": lambda row: f"{row.deep_per_second:,.0f}",
        "of empty": lambda row: f"{row.ratio:.2f}",
    }
    for heading in columns:
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(row.subject, *(text(row) for text in columns.values()))
    return shown


if __name__ == "__main__":
    typer.run(main)
