"""What ten thousand idle long polls cost, and how soon a message reaches one of them."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import statistics
import time
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import http_load, processes
from bench.http_load import Connection

#: Polls that wait at once, and the queues that they wait on.
POLLS = 10_000
QUEUES = 100

#: Messages whose way from the send to a poll is timed.
DELIVERIES = 500

#: How long the polls are left in peace, in seconds. Less than their wait, which is 20.
PEACE_S = 5.0


class Report(Struct):
    """The benchmark as it is written to JSON."""

    polls: int
    queues: int
    cpu_percent: float
    deliveries: int
    delivery_p50_ms: float
    delivery_p99_ms: float
    delivery_max_ms: float


def run() -> Report:
    """Let polls wait, watch the broker's processor time, then send to some of them."""
    allow_open_files()
    with processes.broker("fsync") as broker:
        return uvloop.run(_measure(broker.url, broker.pid))


def allow_open_files() -> None:
    """Each poll is a socket: raise the limit of open files as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def print_table(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(title=f"{report.polls:,} idle long polls on {report.queues} queues")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("processor time while nothing happens", f"{report.cpu_percent:.2f} %")
    table.add_row("send to delivery, median", f"{report.delivery_p50_ms:.2f} ms")
    table.add_row("send to delivery, 99th percentile", f"{report.delivery_p99_ms:.2f} ms")
    table.add_row("send to delivery, slowest", f"{report.delivery_max_ms:.2f} ms")
    console.print(table)


async def _measure(url: str, pid: int) -> Report:
    async with http_load.Client(url) as sender:
        return await _measure_with(sender, url, pid)


async def _measure_with(sender: http_load.Client, url: str, pid: int) -> Report:
    failure: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    names = [f"queue-{number}" for number in range(QUEUES)]
    for name in names:
        await sender.ask("CreateQueue", QueueName=name)
    arrivals: asyncio.Queue[float] = asyncio.Queue()
    for start in range(0, POLLS, 500):
        connections = await http_load.connect(url, 500, failure.set_exception)
        for number, connection in enumerate(connections, start):
            _poll(connection, url, names[number % QUEUES], arrivals)
        await asyncio.sleep(0)
    await asyncio.sleep(1)
    before_s = _processor_time_s(pid)
    await asyncio.sleep(PEACE_S)
    cpu_percent = 100 * (_processor_time_s(pid) - before_s) / PEACE_S
    latencies_ms = []
    rng = random.Random(1)
    for _ in range(DELIVERIES):
        name = rng.choice(names)
        sent_at = time.perf_counter()
        await sender.ask("SendMessage", QueueUrl=name, MessageBody="x" * 1024)
        latencies_ms.append((await arrivals.get() - sent_at) * 1000)
    latencies_ms.sort()
    return Report(
        polls=POLLS,
        queues=QUEUES,
        cpu_percent=cpu_percent,
        deliveries=DELIVERIES,
        delivery_p50_ms=statistics.median(latencies_ms),
        delivery_p99_ms=latencies_ms[int(DELIVERIES * 0.99)],
        delivery_max_ms=latencies_ms[-1],
    )


def _poll(connection: Connection, url: str, name: str, arrivals: asyncio.Queue[float]) -> None:
    """Wait for a message; note when it comes."""
    members = {"QueueUrl": name, "WaitTimeSeconds": 20}
    request = http_load.request_bytes(url, msgspec.json.encode(members), "ReceiveMessage")

    def answered(body: bytes) -> None:
        if b"ReceiptHandle" in body:
            arrivals.put_nowait(time.perf_counter())

    connection.ask(request, answered)


def _processor_time_s(pid: int) -> float:
    """Processor time that a process has used, as Linux tells it."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
