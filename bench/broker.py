"""Durable SendMessage and the life cycle against a bare HTTP echo of the same bytes.

Every subject is measured once in each round, one after the other, so that a change in the
machine's speed meets them all; the table shows medians over the rounds and the median of each
round's ratio to the echo of the same round.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import http_load, processes
from bench.http_load import Load

AnswerT = TypeVar("AnswerT")

#: Keep-alive connections, each with one request on its way.
CONNECTIONS = 32

#: Size of a message body, in bytes.
BODY_BYTES = 1024


class Row(Struct):
    """One line of the table."""

    subject: str
    unit: str
    per_second: float
    ratio_to_echo: float | None
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
        request = http_load.request_bytes(url, _send_body(_queue_url(url)))
        return _run(http_load.repeat(url, request, connections=CONNECTIONS, seconds=seconds))


def measure_send(durability: str, seconds: float) -> Load:
    """SendMessage, every answer after its commit."""
    with processes.broker(durability) as url:
        _run(_create_queue(url))
        request = http_load.request_bytes(url, _send_body(_queue_url(url)), "SendMessage")
        return _run(http_load.repeat(url, request, connections=CONNECTIONS, seconds=seconds))


def measure_life_cycle(durability: str, seconds: float) -> Load:
    """Send, receive and delete in tens."""
    bodies = [body(index) for index in range(10)]
    with processes.broker(durability) as url:
        _run(_create_queue(url))
        return _run(
            http_load.life_cycles(
                url, _queue_url(url), bodies, connections=CONNECTIONS, seconds=seconds
            )
        )


SUBJECTS: list[tuple[str, str, Callable[[float], Load]]] = [
    ("HTTP echo of the same bytes", "requests", measure_echo),
    ("SendMessage, fsync", "messages", lambda seconds: measure_send("fsync", seconds)),
    ("SendMessage, os", "messages", lambda seconds: measure_send("os", seconds)),
    ("SendMessage, memory", "messages", lambda seconds: measure_send("memory", seconds)),
    ("life cycle in tens, fsync", "messages", lambda seconds: measure_life_cycle("fsync", seconds)),
    ("life cycle in tens, os", "messages", lambda seconds: measure_life_cycle("os", seconds)),
    (
        "life cycle in tens, memory",
        "messages",
        lambda seconds: measure_life_cycle("memory", seconds),
    ),
]


def run(seconds: float, rounds: int, console: Console) -> Report:
    """Measure every subject in every round."""
    loads: dict[str, list[Load]] = {subject: [] for subject, _, _ in SUBJECTS}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=rounds * len(SUBJECTS))
        for _ in range(rounds):
            for subject, _, measure in SUBJECTS:
                progress.update(task, description=subject)
                loads[subject].append(measure(seconds))
                progress.advance(task)
    echo = [load.per_second for load in loads[SUBJECTS[0][0]]]
    rows = [_row(subject, unit, loads[subject], echo) for subject, unit, _ in SUBJECTS]
    return Report(BODY_BYTES, CONNECTIONS, seconds, rounds, rows)


def print_table(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(
        title=f"{report.connections} connections, {report.body_bytes}-byte bodies,"
        f" median of {report.rounds} rounds of {report.seconds_each:g} s"
    )
    table.add_column("subject")
    for heading in ("per second", "of echo", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            row.subject,
            f"{row.per_second:,.0f}",
            "" if row.ratio_to_echo is None else f"{row.ratio_to_echo:.2f}",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
        )
    console.print(table)


def _row(subject: str, unit: str, loads: list[Load], echo: list[float]) -> Row:
    rates = [load.per_second for load in loads]
    is_send = subject.startswith("SendMessage")
    ratios = [rate / reference for rate, reference in zip(rates, echo, strict=True)]
    return Row(
        subject,
        unit,
        statistics.median(rates),
        statistics.median(ratios) if is_send else None,
        statistics.median(load.percentile_ms(50) for load in loads),
        statistics.median(load.percentile_ms(99) for load in loads),
        rates,
    )


def _run(coroutine: Coroutine[Any, Any, AnswerT]) -> AnswerT:
    return uvloop.run(coroutine)


def _queue_url(url: str) -> str:
    return f"{url}/000000000000/bench"


def _send_body(queue_url: str) -> bytes:
    return msgspec.json.encode({"QueueUrl": queue_url, "MessageBody": body(0)})


async def _create_queue(url: str) -> None:
    request = http_load.request_bytes(url, b'{"QueueName": "bench"}', "CreateQueue")
    created: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    [connection] = await http_load.connect(url, 1, created.set_exception)
    connection.ask(request, created.set_result)
    await created
    connection.close()
