"""What the benchmarks say of small runs."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from bench import (
    broker_counts,
    processes,
    spike,
    usage_burst,
    usage_memory,
    usage_peers,
    usage_pipeline,
    usage_send,
    worker,
)
from bench.usage_peer_subject import SUBJECTS
from bench.usage_sizes import Sizes
from forebay.client.http import HttpSqsClient
from forebay.producer import Producer

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")


@linux_only
def test_a_worker_that_empties_its_queue_is_measured_by_the_brokers_counts() -> None:
    report = worker.run(300, 1, 60, "forebay", Console(quiet=True))
    row = report.rows[0]
    [run] = row.rounds
    assert run.messages == 300
    assert 0 < run.seconds < 60
    assert run.cpu_s > 0
    assert run.calls["ReceiveMessage"] >= 30
    assert run.calls["DeleteMessageBatch"] >= 30
    assert report.not_measured == []
    speed, *ratios = report.bars
    assert speed.reached == row.per_second
    assert [bar.reached for bar in ratios] == [None, None]


@linux_only
def test_a_burst_is_accounted_for_by_class() -> None:
    report = spike.run(600, 1, Console(quiet=True))
    assert report.messages == 600
    assert sum(row.messages for row in report.rows) == 600
    for row in report.rows:
        assert 0 <= row.age_p50_ms <= row.age_p99_ms <= row.age_max_ms
        assert row.gap_ms <= report.seconds * 1000
        assert len(row.slices_p99_ms) == spike.SLICES
    assert len(report.bars) == 4


@linux_only
async def test_the_meter_counts_as_aws_bills_and_envelopes_in_packs() -> None:
    with processes.broker_on(None, "memory", "bench.counted_broker") as server:
        async with HttpSqsClient(server.url) as client:
            queue = (await client.create_queue("metered")).queue_url
            await client.send(queue, "x" * 65_536)
            await client.send(queue, "x" * 65_537)
            async with Producer(client, queue, packed=["note"]) as producer:
                for number in range(30):
                    producer.send("note", number)
            received = await client.receive(queue)
            for message in received:
                await client.delete(queue, message)
        counts = broker_counts.read(server.url, "metered")
    assert counts.events == 32
    assert counts.calls["SendMessage"] == 2
    assert counts.billed["SendMessage"] == 3
    assert counts.billed["SendMessageBatch"] == counts.calls["SendMessageBatch"] == 1
    assert len(received) == 3
    assert counts.billed["ReceiveMessage"] == 3
    assert counts.billed["DeleteMessage"] == 3


@linux_only
def test_every_call_of_send_is_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_send, "PACES", (2_000,))
    monkeypatch.setattr(usage_send, "instructions_each", lambda *_: None)
    report = usage_send.run(Sizes(send_seconds=0.3), Console(quiet=True), {})
    assert {row.per_second for row in report.paced} == set(usage_send.PACES)
    for row in [*report.paced, *report.fastest]:
        ledger = row.answer.ledger
        assert ledger.offered == row.answer.calls
        assert ledger.offered - sum(ledger.dropped.values()) == row.answer.accepted
    for row in report.paced:
        send = row.answer.send
        assert send is not None
        assert 0 < send.p50_us <= send.p99_us <= send.p999_us <= send.max_us
    assert report.python_calls > 0
    assert all(bar.reached is not None for bar in usage_send.bars(report))


@linux_only
def test_what_arrives_of_each_producer_is_counted_by_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(usage_peers, "LOADS", (300,))
    subjects = ["Forebay, packed", "OpenTelemetry, as it comes", "QueueHandler, same buffer"]
    monkeypatch.setattr(usage_peers, "SUBJECTS", {name: SUBJECTS[name] for name in subjects})
    report = usage_peers.run(Sizes(peer_seconds=0.5), Console(quiet=True), {})
    assert [row.subject for row in report.rows] == subjects
    for row in report.rows:
        assert row.answer.offered > 100
        assert row.arrived == row.answer.accepted == row.answer.offered


@linux_only
def test_a_small_burst_is_in_the_database_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_burst, "_SHED_BATCHES", (100,))
    # Beside other tests, what stands back may not run at all.
    monkeypatch.setattr(usage_pipeline, "NICE", 0)
    sizes = Sizes(burst_per_second=3_000, burst_seconds=1, burst_producers=2, burst_writers=1)
    report = usage_burst.run(sizes, Console(quiet=True), {})
    exact = report.outcome.exact
    assert exact.rows == exact.counted == 3_000
    assert (exact.rejects, exact.doubled, exact.keys_different) == (0, 0, 0)
    assert report.outcome.billed["SendMessageBatch"] < 300
    assert report.outcome.written_s is not None
    [shed] = report.shed
    assert 0 < shed.rows <= shed.offered
    usage_burst.print_tables(report, Console(quiet=True))
    assert not [bar.verdict for bar in usage_burst.bars(report)[1:] if bar.missed]


@linux_only
def test_memory_is_watched_while_the_queue_is_silent() -> None:
    report = usage_memory.run(Sizes(memory_seconds=3), Console(quiet=True), {})
    assert [watched.kind for watched in report.watched] == ["spill", "drop"]
    for watched in report.watched:
        assert watched.ledger.offered == 3 * usage_memory.PER_SECOND
        assert watched.ledger.delivered == 0
        assert len(watched.samples) > 10
        assert all(sample.resident_mb > 10 for sample in watched.samples)
    usage_memory.print_tables(report, Console(quiet=True))
