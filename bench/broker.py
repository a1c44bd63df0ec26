"""Durable SendMessage and the life cycle against a bare HTTP echo of the same bytes.

Every subject is measured once in each round, one after the other, so that a change in the
machine's speed meets them all; the table shows medians over the rounds and the median of each
round's ratio to the echo of the same round.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeAlias, TypeVar

import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import http_load, processes
from bench.http_load import Load

AnswerT = TypeVar("AnswerT")

#: Measures for so many seconds.
Measure: TypeAlias = Callable[[float], Load]
MeasureServer: TypeAlias = Callable[[processes.Server, float], Load]

#: The two subjects that others are compared with.
ECHO = "HTTP echo of the same bytes"
LIFE_CYCLE = "life cycle in tens, fsync"

#: Message groups that the FIFO life cycle goes over.
FIFO_GROUPS = 10_000

#: Keep-alive connections, each with one request on its way.
CONNECTIONS = 32

#: Size of a message body, in bytes.
BODY_BYTES = 1024


class Row(Struct):
    """One line of the table."""

    subject: str
    per_second: float
    ratio: float | None
    compared_with: str | None
    p50_ms: float
    p99_ms: float
    rounds_per_second: list[float]


class Report(Struct):
    """The benchmark as it is written to JSON."""

    body_bytes: int
    connections: int
    seconds_each: float
    rounds: int
    rows: list[Row]


def body(seed: int) -> str:
    """A message body that does not compress to nothing."""
    return random.Random(seed).randbytes(BODY_BYTES // 2).hex()


def measure_echo(seconds: float) -> Load:
    """The bytes of a SendMessage request, echoed."""
    with processes.echo_server() as url:
        request = http_load.request_bytes(url, _send_body(f"{url}/000000000000/bench"))
        return _run(http_load.repeat(url, request, connections=CONNECTIONS, seconds=seconds))


def measure_send(server: processes.Server, seconds: float) -> Load:
    """SendMessage, one message a call."""
    queue_url = _run(_create_queue(server.url, "bench"))
    request = http_load.request_bytes(server.url, _send_body(queue_url), "SendMessage")
    return _run(http_load.repeat(server.url, request, connections=CONNECTIONS, seconds=seconds))


def measure_life_cycle(server: processes.Server, seconds: float) -> Load:
    """Send, receive and delete in tens."""
    queue_url = _run(_create_queue(server.url, "bench"))
    entries = [{"Id": str(index), "MessageBody": body(index)} for index in range(10)]
    batch = msgspec.json.encode({"QueueUrl": queue_url, "Entries": entries})
    return _run(
        http_load.life_cycles(
            server.url, queue_url, lambda: batch, connections=CONNECTIONS, seconds=seconds
        )
    )


def measure_fifo_life_cycle(server: processes.Server, seconds: float) -> Load:
    """The same over FIFO_GROUPS message groups, each message with a deduplication id."""
    queue_url = _run(_create_queue(server.url, "bench.fifo"))
    text = body(0)
    numbers = count()

    def make_batch() -> bytes:
        entries = []
        for index in range(10):
            number = next(numbers)
            entries.append(
                {
                    "Id": str(index),
                    "MessageBody": text,
                    "MessageGroupId": str(number * 7919 % FIFO_GROUPS),
                    "MessageDeduplicationId": str(number),
                }
            )
        return msgspec.json.encode({"QueueUrl": queue_url, "Entries": entries})

    return _run(
        http_load.life_cycles(
            server.url, queue_url, make_batch, connections=CONNECTIONS, seconds=seconds
        )
    )


def with_broker(measure: MeasureServer, durability: str) -> Measure:
    """Measure a fresh broker."""

    def measured(seconds: float) -> Load:
        with processes.broker(durability) as server:
            return measure(server, seconds)

    return measured


def with_moto(measure: MeasureServer) -> Measure:
    """Measure a fresh moto server."""

    def measured(seconds: float) -> Load:
        with processes.moto_server() as server:
            return measure(server, seconds)

    return measured


SUBJECTS: list[tuple[str, Measure]] = [
    (ECHO, measure_echo),
    ("SendMessage, fsync", with_broker(measure_send, "fsync")),
    ("SendMessage, os", with_broker(measure_send, "os")),
    ("SendMessage, memory", with_broker(measure_send, "memory")),
    ("SendMessage, moto", with_moto(measure_send)),
    (LIFE_CYCLE, with_broker(measure_life_cycle, "fsync")),
    ("life cycle in tens, os", with_broker(measure_life_cycle, "os")),
    ("life cycle in tens, memory", with_broker(measure_life_cycle, "memory")),
    ("life cycle in tens, moto", with_moto(measure_life_cycle)),
    (
        f"life cycle in tens, fsync, FIFO, {FIFO_GROUPS:,} groups",
        with_broker(measure_fifo_life_cycle, "fsync"),
    ),
]


def run(seconds: float, rounds: int, console: Console) -> Report:
    """Measure every subject in every round."""
    processes.environment("moto")
    loads: dict[str, list[Load]] = {subject: [] for subject, _ in SUBJECTS}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=rounds * len(SUBJECTS))
        for _ in range(rounds):
            for subject, measure in SUBJECTS:
                progress.update(task, description=subject)
                loads[subject].append(measure(seconds))
                progress.advance(task)
    rows = [_row(subject, loads) for subject, _ in SUBJECTS]
    return Report(BODY_BYTES, CONNECTIONS, seconds, rounds, rows)


def print_table(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(
        title=f"{report.connections} connections, {report.body_bytes}-byte bodies,"
        f" median of {report.rounds} rounds of {report.seconds_each:g} s"
    )
    table.add_column("subject")
    for heading in ("per second", "ratio", "to", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            row.subject,
            f"{row.per_second:,.0f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.compared_with or "",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
        )
    console.print(table)


def _row(subject: str, loads: dict[str, list[Load]]) -> Row:
    """A send is compared with the echo, a life cycle with the standard one at fsync."""
    rates = [load.per_second for load in loads[subject]]
    yardstick = ECHO if subject.startswith("SendMessage") else LIFE_CYCLE
    ratio = None
    if subject not in {ECHO, LIFE_CYCLE}:
        ratio = statistics.median(
            rate / reference.per_second
            for rate, reference in zip(rates, loads[yardstick], strict=True)
        )
    return Row(
        subject,
        statistics.median(rates),
        ratio,
        None if ratio is None else ("echo" if yardstick is ECHO else "fsync"),
        statistics.median(load.percentile_ms(50) for load in loads[subject]),
        statistics.median(load.percentile_ms(99) for load in loads[subject]),
        rates,
    )


def _run(coroutine: Coroutine[Any, Any, AnswerT]) -> AnswerT:
    return uvloop.run(coroutine)


def _send_body(queue_url: str) -> bytes:
    return msgspec.json.encode({"QueueUrl": queue_url, "MessageBody": body(0)})


async def _create_queue(url: str, name: str) -> str:
    attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    async with http_load.Client(url) as client:
        created = await client.ask("CreateQueue", QueueName=name, Attributes=attributes)
    queue_url: str = created["QueueUrl"]
    return queue_url
