"""What `make bench-worker` and `make bench-spike` say of a small run."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from bench import spike, worker

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
