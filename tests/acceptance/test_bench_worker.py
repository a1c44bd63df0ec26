"""`make bench-worker` measures a worker by what its broker saw."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console

from bench import worker


@pytest.mark.skipif(sys.platform != "linux", reason="processor time is read from /proc")
def test_a_worker_that_empties_its_queue_is_measured_by_the_brokers_counts() -> None:
    report = worker.run(300, 1, 60, "forebay", Console(quiet=True))
    [row] = report.rows
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
