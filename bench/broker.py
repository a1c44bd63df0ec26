"""Durable SendMessage and the life cycle against a bare HTTP echo of the same bytes, and the peers.

Every subject is measured once in each round, one after the other, so that a change in the
machine's speed meets them all; the table shows medians over the rounds and the median of each
round's ratio to the echo of the same round.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, TypeVar

import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import http_load, processes
from bench.http_load import Load
from bench.peer_servers import PEERS, Peer, environment_of
from forebay.broker.core.changes import ChangeSet
from forebay.broker.journal.base import Durability
from forebay.broker.journal.sqlite import SqliteJournal

AnswerT = TypeVar("AnswerT")

#: Measures for so many seconds.
Measure: TypeAlias = Callable[[float], Load]
MeasureServer: TypeAlias = Callable[[processes.Server, float], Load]

#: The two subjects that others are compared with.
ECHO = "HTTP echo of the same bytes"
LIFE_CYCLE = "life cycle in tens, fsync"

LONE = "lone SendMessage, memory"

#: What a subject is compared with, by how its name begins, and the short of it.
YARDSTICKS = {
    "SendMessage": (ECHO, "echo"),
    "lone SendMessage": (LONE, "memory"),
    "life cycle": (LIFE_CYCLE, "fsync"),
}

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
    #: Peers that were not measured, each with the reason.
    not_measured: list[str]


_queue_numbers = count()


def body(seed: int) -> str:
    """A message body that does not compress to nothing."""
    return random.Random(seed).randbytes(BODY_BYTES // 2).hex()


def measure_echo(seconds: float) -> Load:
    """The bytes of a SendMessage request, echoed."""
    with processes.echo_server() as url:
        request = http_load.request_bytes(url, _send_body(f"{url}/000000000000/bench"))
        return _run(http_load.repeat(url, request, connections=CONNECTIONS, seconds=seconds))


def measure_send(server: processes.Server, seconds: float, connections: int = CONNECTIONS) -> Load:
    """SendMessage, one message a call, to a queue of its own that is deleted afterwards."""
    queue = f"bench-{next(_queue_numbers)}"
    queue_url = _run(http_load.create_queue(server.url, queue))
    request = http_load.request_bytes(server.url, _send_body(queue_url), "SendMessage")
    try:
        return _run(http_load.repeat(server.url, request, connections=connections, seconds=seconds))
    finally:
        _run(http_load.delete_queue(server.url, queue_url))


def measure_lone_send(server: processes.Server, seconds: float) -> Load:
    """SendMessage on one connection, as a test suite sends."""
    return measure_send(server, seconds, connections=1)


def measure_journal(seconds: float, durability: Durability) -> Load:
    """What the disk itself asks for: the journal's commit of one message, and nothing else."""
    latencies_ms: list[float] = []
    clock = time.perf_counter
    with TemporaryDirectory(prefix="forebay-bench-") as directory:
        journal = SqliteJournal(Path(directory), durability)
        text = body(0)
        started = now = clock()
        for number in count(1):
            row = (number, 1, "id", text, 0, 0, 0, "sender", None, None, None, 0)
            journal.commit(ChangeSet(messages=[row], next_sequence=number + 1))
            before, now = now, clock()
            latencies_ms.append((now - before) * 1000)
            if now - started > seconds:
                break
        journal.close()
    return Load(len(latencies_ms), now - started, latencies_ms)


def measure_life_cycle(server: processes.Server, seconds: float) -> Load:
    """Send, receive and delete in tens."""
    queue_url = _run(http_load.create_queue(server.url, f"bench-{next(_queue_numbers)}"))
    entries = [{"Id": str(index), "MessageBody": body(index)} for index in range(10)]
    batch = msgspec.json.encode({"QueueUrl": queue_url, "Entries": entries})
    return _run(
        http_load.life_cycles(
            server.url, queue_url, lambda: batch, connections=CONNECTIONS, seconds=seconds
        )
    )


def measure_fifo_life_cycle(server: processes.Server, seconds: float) -> Load:
    """The same over FIFO_GROUPS message groups, each message with a deduplication id."""
    queue_url = _run(http_load.create_queue(server.url, "bench.fifo", FifoQueue="true"))
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


def subjects(peers: dict[str, processes.Server]) -> list[tuple[str, Measure]]:
    """What is measured, in the order in which each round does it."""
    found: list[tuple[str, Measure]] = [
        (ECHO, measure_echo),
        ("SendMessage, fsync", with_broker(measure_send, "fsync")),
        ("SendMessage, os", with_broker(measure_send, "os")),
        ("SendMessage, memory", with_broker(measure_send, "memory")),
    ]
    found += [(f"SendMessage, {name}", with_peer(measure_send, peers[name])) for name in peers]
    found += [
        (f"lone SendMessage, {durability}", with_broker(measure_lone_send, durability))
        for durability in ("memory", "os", "fsync")
    ]
    found += [
        (f"lone SendMessage, {name}", with_peer(measure_lone_send, peers[name])) for name in peers
    ]
    found += [
        ("the journal alone, os", partial(measure_journal, durability=Durability.OS)),
        ("the journal alone, fsync", partial(measure_journal, durability=Durability.FSYNC)),
        (LIFE_CYCLE, with_broker(measure_life_cycle, "fsync")),
        ("life cycle in tens, os", with_broker(measure_life_cycle, "os")),
        ("life cycle in tens, memory", with_broker(measure_life_cycle, "memory")),
    ]
    found += [
        (f"life cycle in tens, {name}", with_peer(measure_life_cycle, peers[name]))
        for name in peers
    ]
    found.append(
        (
            f"life cycle in tens, fsync, FIFO, {FIFO_GROUPS:,} groups",
            with_broker(measure_fifo_life_cycle, "fsync"),
        )
    )
    return found


def with_peer(measure: MeasureServer, server: processes.Server) -> Measure:
    """Measure a peer, which runs all the time because it is quick only once it is warm."""
    return lambda seconds: measure(server, seconds)


@contextmanager
def running(peer: Peer) -> Iterator[processes.Server]:
    """A peer, installed, started and warmed up."""
    command = peer.install()
    port = processes.free_port()
    with processes.server(command(port), port, environment_of(peer, port)) as server:
        measure_send(server, peer.warm_up_s)
        yield server


def run(seconds: float, rounds: int, console: Console) -> Report:
    """Measure every subject in every round."""
    missing = [f"{peer.name} (no {peer.tool})" for peer in PEERS if peer.missing]
    loads: defaultdict[str, list[Load]] = defaultdict(list)
    with Progress(console=console, transient=True) as progress, ExitStack() as stack:
        present = [peer for peer in PEERS if not peer.missing]
        task = progress.add_task("installing", total=len(present))
        peers = {}
        for peer in present:
            progress.update(task, description=f"installing and warming up {peer.name}")
            peers[peer.name] = stack.enter_context(running(peer))
            progress.advance(task)
        each_round = subjects(peers)
        progress.update(task, total=rounds * len(each_round), completed=0)
        for _ in range(rounds):
            for subject, measure in each_round:
                progress.update(task, description=subject)
                loads[subject].append(measure(seconds))
                progress.advance(task)
    rows = [_row(subject, loads) for subject in loads]
    return Report(BODY_BYTES, CONNECTIONS, seconds, rounds, rows, missing)


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
    if report.not_measured:
        console.print(f"Not measured: {', '.join(report.not_measured)}.")


def _row(subject: str, loads: Mapping[str, list[Load]]) -> Row:
    """A send is compared with the echo, a lone one with ours in memory, a life cycle with ours."""
    rates = [load.per_second for load in loads[subject]]
    yardstick, short_name = next(
        (of for start, of in YARDSTICKS.items() if subject.startswith(start)), (subject, "")
    )
    ratio = None
    if subject != yardstick:
        ratio = statistics.median(
            rate / reference.per_second
            for rate, reference in zip(rates, loads[yardstick], strict=True)
        )
    return Row(
        subject,
        statistics.median(rates),
        ratio,
        None if ratio is None else short_name,
        statistics.median(load.percentile_ms(50) for load in loads[subject]),
        statistics.median(load.percentile_ms(99) for load in loads[subject]),
        rates,
    )


def _run(coroutine: Coroutine[Any, Any, AnswerT]) -> AnswerT:
    return uvloop.run(coroutine)


def _send_body(queue_url: str) -> bytes:
    return msgspec.json.encode({"QueueUrl": queue_url, "MessageBody": body(0)})
