"""`python -m bench.deep`: how a durable queue serves when millions of messages are in it.

The journal is filled directly, because only its depth matters; then a broker is started on it and
measured over HTTP, beside the same broker on an empty queue.
"""

from __future__ import annotations

import asyncio
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
from rich.table import Table

from bench import http_load, processes
from bench.broker import FIFO_GROUPS, body, measure_fifo_life_cycle, measure_life_cycle
from forebay.broker.core.changes import ChangeSet, MessageRow, QueueRecord, Tally
from forebay.broker.journal.base import Durability
from forebay.broker.journal.sqlite import SqliteJournal
from forebay.clock import SystemClock

RESULTS = Path(__file__).parent / "results"

#: Messages of one commit while the journal is filled.
_FILLED_AT_ONCE = 20_000


class Subject(Struct, frozen=True):
    """A kind of backlog."""

    name: str
    fifo: bool = False
    #: How far off the messages' delays end, in ms. They are sent in order of that.
    delay_ms: int = 0
    purged: bool = False


SUBJECTS = [
    Subject("waiting"),
    Subject("delayed", delay_ms=900_000),
    Subject("purged", purged=True),
    Subject("FIFO, 10,000 groups", fifo=True),
]


class Row(Struct):
    """What was measured on one backlog."""

    subject: str
    messages: int
    filled_per_second: float
    ready_s: float
    resident_at_start_mb: float
    resident_mb: float
    empty_per_second: float
    deep_per_second: float


def fill(directory: Path, subject: Subject, messages: int) -> None:
    """A journal with one queue, `bench`, and so many messages in it."""
    journal = SqliteJournal(directory, Durability.OS)
    now_ms = SystemClock().wall_ms()
    queue = _queue(subject, now_ms)
    made = 0
    while made < messages or made == 0:
        count = min(_FILLED_AT_ONCE, messages - made)
        rows = [_row(subject, made + n + 1, now_ms, messages) for n in range(count)]
        made += count
        journal.commit(
            ChangeSet(
                queues={1: queue},
                messages=rows,
                tallies={1: Tally(made)},
                next_sequence=made + 1,
                next_queue_number=2,
                clock_ms=now_ms,
            )
        )
        if not messages:
            break
    journal.close()


def _queue(subject: Subject, now_ms: int) -> QueueRecord:
    return QueueRecord(
        number=1,
        account_id="000000000000",
        name=_name(subject),
        region="us-east-1",
        created_at_ms=now_ms,
        modified_at_ms=now_ms,
        purged_at_ms=None,
        attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        if subject.fifo
        else {},
        tags={},
    )


def _row(subject: Subject, sequence: int, now_ms: int, messages: int) -> MessageRow:
    delay_ms = subject.delay_ms and subject.delay_ms * 2 // 3 + sequence * 300_000 // messages
    available_at_ms = now_ms + delay_ms
    return (
        sequence,
        1,
        f"00000000-0000-4000-8000-{sequence:012d}",
        body(sequence % 64),
        now_ms,
        available_at_ms,
        now_ms,
        "000000000000",
        str(sequence % FIFO_GROUPS) if subject.fifo else None,
        str(sequence) if subject.fifo else None,
        None,
        sequence if subject.fifo else available_at_ms,
    )


def measure(subject: Subject, messages: int, seconds: float) -> Row:
    """Fill, restart, and measure deep and empty."""
    clock = time.perf_counter
    life_cycle = measure_fifo_life_cycle if subject.fifo else measure_life_cycle
    with tempfile.TemporaryDirectory(prefix="forebay-deep-") as folder:
        empty, deep = Path(folder, "empty"), Path(folder, "deep")
        fill(empty, subject, 0)
        started = clock()
        fill(deep, subject, messages)
        filled_s = clock() - started
        with processes.broker_on(empty, "fsync") as server:
            empty_rate = life_cycle(server, seconds).per_second
        started = clock()
        with processes.broker_on(deep, "fsync") as server:
            ready_s = clock() - started
            at_start_mb = processes.resident_mb(server)
            if subject.purged:
                uvloop.run(_purge(server.url, f"{server.url}/000000000000/{_name(subject)}"))
            deep_rate = life_cycle(server, seconds).per_second
            after_mb = processes.resident_mb(server)
    return Row(
        subject.name,
        messages,
        messages / filled_s,
        ready_s,
        at_start_mb,
        after_mb,
        empty_rate,
        deep_rate,
    )


def main(
    messages: Annotated[int, typer.Option(help="Messages in the queue.")] = 200_000,
    seconds: Annotated[float, typer.Option(help="Length of one measurement, in seconds.")] = 5.0,
) -> None:
    """Measure a deep queue beside an empty one and write bench/results/deep.json."""
    console = Console()
    rows = []
    for subject in SUBJECTS:
        rows.append(measure(subject, messages, seconds))
        console.print(f"{subject.name}: done")
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
        "empty/s": lambda row: f"{row.empty_per_second:,.0f}",
        "deep/s": lambda row: f"{row.deep_per_second:,.0f}",
        "of empty": lambda row: f"{row.deep_per_second / row.empty_per_second:.2f}",
    }
    for heading in columns:
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(row.subject, *(text(row) for text in columns.values()))
    return shown


async def _purge(url: str, queue_url: str) -> None:
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    [connection] = await http_load.connect(url, 1, answered.set_exception)
    request = msgspec.json.encode({"QueueUrl": queue_url})
    connection.ask(http_load.request_bytes(url, request, "PurgeQueue"), answered.set_result)
    await answered
    connection.close()


def _name(subject: Subject) -> str:
    return "bench.fifo" if subject.fifo else "bench"


if __name__ == "__main__":
    typer.run(main)
