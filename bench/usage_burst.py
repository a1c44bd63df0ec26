"""A burst like the one of the document's largest test run, and the writer that it was lost with."""

from __future__ import annotations

import psycopg
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from bench import usage_offer, usage_shedding
from bench.barrier import ask_together
from bench.bars import Bar
from bench.usage_pipeline import NICE, POSTGRES_OPTIONS, Outcome, pipeline
from bench.usage_sizes import Sizes
from forebay.producer import ProducerSettings, WhenFull
from forebay.testing.postgres import postgres_server

#: How long after the beginning every row is to be there, in seconds.
WRITTEN_S = 60

#: How long is waited for the rows, in seconds.
_PATIENCE_S = 150

#: The document's stress profile but for the buffer's size, with a spill behind the buffer.
STRESS = ProducerSettings(flush_ms=50, when_full=WhenFull.SPILL)

#: The old writer: rows of a transaction, in each of its forms.
_SHED_BATCHES = (1, 100)
_SHED_WORKERS, _SHED_CHANNEL = 16, 10_000
_SHED_PATIENCE_S = 120.0


class Shed(Struct):
    """What the old writer did with the same load."""

    batch: int
    offered: int
    offering_s: float
    rows: int


class Report(Struct):
    """The part as it is written to JSON."""

    per_second: int
    buffer_size: int
    outcome: Outcome
    shed: list[Shed]


def run(sizes: Sizes, console: Console, _earlier: object) -> Report:
    """Offer the burst to the pipeline, then to the old writer."""
    with console.status("the burst"), pipeline(sizes.burst_writers) as running:
        begun_s, futures = running.offer(
            sizes.burst_per_second,
            sizes.burst_seconds,
            sizes.burst_producers,
            replace(STRESS, buffer_size=sizes.burst_buffer),
            patience_s=_PATIENCE_S,
        )
        outcome = running.watch(begun_s, futures, _PATIENCE_S)
    with console.status("the old writer"):
        shed = [_shed(sizes, batch) for batch in _SHED_BATCHES]
    return Report(sizes.burst_per_second, sizes.burst_buffer, outcome, shed)


def bars(report: Report) -> list[Bar]:
    """What was asked for."""
    outcome = report.outcome
    ledgers = [offer.ledger for offer in outcome.offers]
    delivered = sum(ledger.delivered for ledger in ledgers)
    written_s = None if outcome.written_s is None else outcome.written_s - outcome.begun_s
    exact = outcome.exact
    offered = sum(offer.calls for offer in outcome.offers)
    return [
        Bar(
            f"burst, part of {report.per_second:,} logs/s offered, %",
            98,
            100 * offered / _offering_s(outcome) / report.per_second,
        ),
        Bar(
            "burst, calls of send beside what the ledgers have",
            0,
            abs(offered - sum(ledger.offered for ledger in ledgers)),
            at_most=True,
        ),
        Bar("burst, logs shed", 0, sum(ledger.lost for ledger in ledgers), at_most=True),
        Bar(
            "burst, seconds from its beginning to the last row",
            WRITTEN_S,
            float("inf") if written_s is None else written_s,
            at_most=True,
        ),
        Bar("burst, offered logs that are no row", 0, abs(offered - exact.rows), at_most=True),
        Bar("burst, rows beside those delivered", 0, abs(delivered - exact.rows), at_most=True),
        Bar("burst, rows that are doubled", 0, exact.doubled, at_most=True),
        Bar("burst, keys with a wrong counter", 0, exact.keys_different, at_most=True),
        Bar("burst, counters beside rows", 0, abs(exact.counted - exact.rows), at_most=True),
    ]


def print_tables(report: Report, console: Console) -> None:
    """Show the report to people."""
    outcome = report.outcome
    ledgers = [offer.ledger for offer in outcome.offers]
    offered, exact = sum(offer.calls for offer in outcome.offers), outcome.exact
    table = Table(
        title=f"{report.per_second:,} logs/s from {len(ledgers)} processes through one broker into"
        " PostgreSQL, both with fsync"
    )
    table.add_column("what")
    table.add_column("figure", justify="right")
    offering_s = _offering_s(outcome)
    rows = [
        ("offered", f"{offered:,} in {offering_s:.1f} s: {offered / offering_s:,.0f}/s"),
        ("shed", f"{sum(ledger.lost for ledger in ledgers):,}"),
        ("spilled at most", f"{_most(outcome, 'spilled'):,}"),
        ("buffered at most", f"{_most(outcome, 'buffered'):,}"),
        ("last log in the queue", f"{_after(outcome, max(o.ended_s for o in outcome.offers))}"),
        ("last row in PostgreSQL", _after(outcome, outcome.written_s)),
        ("rows, counters, rejects", f"{exact.rows:,}, {exact.counted:,}, {exact.rejects:,}"),
        ("doubled rows, wrong counters", f"{exact.doubled:,}, {exact.keys_different:,}"),
        ("messages in the queue", f"{outcome.messages:,}"),
        ("requests as AWS bills them", f"{sum(outcome.billed.values()):,}"),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    table = Table(title="What it took")
    table.add_column("process")
    for heading in ("memory at most, MB", "processor, s", "µs a log"):
        table.add_column(heading, justify="right")
    for name, memory_mb in outcome.memory_mb.items():
        cpu_s = outcome.cpu_s[name]
        table.add_row(name, f"{memory_mb:,.0f}", f"{cpu_s:.1f}", f"{cpu_s / offered * 1e6:.2f}")
    console.print(table)
    calling_s = sum(offer.caller_cpu_s for offer in outcome.offers)
    whole_s = sum(outcome.cpu_s.values())
    console.print(
        f"Of the producers' processor time {calling_s:.1f} s are the calls of send. All processes"
        f" together: {whole_s:.0f} s, {whole_s / offered * 1e6:.2f} µs a log. Memory of PostgreSQL:"
        " what it had in the end.",
        highlight=False,
    )
    for shed in report.shed:
        console.print(
            f"The old writer, {shed.batch} rows a transaction: {shed.offered:,} offered in"
            f" {shed.offering_s:.1f} s, {shed.rows:,} rows,"
            f" {shed.offered - shed.rows:,} lost ({_part(shed):.2%}), none of them counted by it.",
            highlight=False,
        )
    console.print(
        f"The logs were made beforehand. Each producer has a buffer of {report.buffer_size:,},"
        f" flushes every {STRESS.flush_ms} ms and spills; Python's switch interval there is"
        f" {usage_offer.SWITCH_S * 1000:g} ms. Writers and PostgreSQL run with nice"
        f" {NICE}: on other machines they would not be in the producers' way. The old writer has"
        f" {_SHED_WORKERS} workers and a channel of {_SHED_CHANNEL:,} in each process, and may"
        " write what its channel holds after the burst. PostgreSQL:"
        f" {', '.join(f'{name}={value}' for name, value in POSTGRES_OPTIONS.items())}.",
        highlight=False,
    )


def _offering_s(outcome: Outcome) -> float:
    return max(offer.begun_s + offer.offering_s for offer in outcome.offers) - outcome.begun_s


def _most(outcome: Outcome, name: str) -> int:
    """The sum over the producers of the most that each had."""
    return sum(max(getattr(each, name) for each in offer.samples) for offer in outcome.offers)


def _after(outcome: Outcome, at_s: float | None) -> str:
    if at_s is None:
        return "not in time"
    from_begin_s = at_s - outcome.begun_s
    return (
        f"{from_begin_s:.1f} s from the beginning, {from_begin_s - _offering_s(outcome):.1f} s"
        " from the end"
    )


def _part(shed: Shed) -> float:
    return 1 - shed.rows / shed.offered


def _shed(sizes: Sizes, batch: int) -> Shed:
    """The same load on the writer of old."""
    producers = sizes.burst_producers
    with postgres_server(options=POSTGRES_OPTIONS) as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute(usage_shedding.TABLE)
        questions = [
            usage_shedding.Question(
                conninfo,
                sizes.burst_per_second // producers,
                sizes.burst_seconds,
                _SHED_WORKERS,
                _SHED_CHANNEL,
                batch,
                seed=number,
            )
            for number in range(producers)
        ]
        patience_s = sizes.burst_seconds + _SHED_PATIENCE_S
        _, futures = ask_together(
            "bench.usage_shedding", questions, usage_shedding.Answer, patience_s
        )
        answers = [future.result() for future in futures]
        with psycopg.connect(conninfo) as connection:
            row = connection.execute("SELECT count(*) FROM shed_usage_logs").fetchone()
    assert row is not None
    return Shed(
        batch,
        sum(answer.offered for answer in answers),
        max(answer.seconds for answer in answers),
        row[0],
    )
