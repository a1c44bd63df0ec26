"""What goes wrong is drawn from a seed, at the rates that were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.broker.faults import read_rates
from forebay.errors import SettingsError
from forebay.fault_injection import FIFO_CALLS_PER_SECOND, FaultRates, Partition, SeededFaults


def test_only_some_answers_are_held_back() -> None:
    plane = SeededFaults(FaultRates(latency_ms=10, late=0.25))
    late = [plane.latency_s() > 0 for _ in range(1000)]
    assert 200 < sum(late) < 300


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_span_has_one_partition_at_a_moment_of_the_seed(seed: int) -> None:
    rates = FaultRates(seed=seed, partition_every_s=30, partition_for_s=5)
    now_ms = 0
    partitions: list[Partition] = []
    for _ in range(10):
        partition = SeededFaults(rates).partition(now_ms)
        assert partition is not None
        assert partition.ends_ms - partition.begins_ms in {4999, 5000, 5001}
        assert SeededFaults(rates).partition(partition.begins_ms) == partition
        partitions.append(partition)
        now_ms = partition.ends_ms
    assert [partition.begins_ms // 30_000 for partition in partitions] == list(range(10))
    assert len({partition.begins_ms % 30_000 for partition in partitions}) == 10
    other = FaultRates(seed=seed + 1, partition_every_s=30, partition_for_s=5)
    assert SeededFaults(other).partition(0) != partitions[0]


def test_without_a_rate_there_is_no_partition() -> None:
    assert SeededFaults(FaultRates()).partition(0) is None


@pytest.mark.parametrize(("queue", "refused"), [("jobs", 0), ("orders.fifo", 50)])
def test_fifo_limits_are_awss(queue: str, refused: int) -> None:
    plane = SeededFaults(FaultRates(fifo_limits=True))
    fifo = queue.endswith(".fifo")
    calls = [
        plane.throttles("SendMessage", queue, fifo=fifo, now_ms=0)
        for _ in range(FIFO_CALLS_PER_SECOND + 50)
    ]
    assert sum(calls) == refused
    assert not plane.throttles("SendMessage", queue, fifo=fifo, now_ms=1000)


def test_latency_has_its_median_and_a_tail() -> None:
    plane = SeededFaults(FaultRates(latency_ms=10))
    drawn = sorted(plane.latency_s() for _ in range(2000))
    assert 0.009 < drawn[1000] < 0.011
    assert 0.035 < drawn[1980] < 0.07


def test_another_kind_of_fault_changes_no_draw_of_this_one() -> None:
    alone = SeededFaults(FaultRates(duplicate=0.5))
    beside = SeededFaults(FaultRates(duplicate=0.5, lose_reply=0.5, throttle=0.5, reorder=0.5))
    drawn = []
    for _ in range(50):
        beside.loses_reply()
        beside.throttles("SendMessage", "jobs", fifo=False, now_ms=0)
        beside.reorder([1, 2, 3])
        drawn.append(beside.duplicates())
    assert drawn == [alone.duplicates() for _ in range(50)]


def test_the_same_seed_draws_the_same_faults() -> None:
    def draw(seed: int) -> list[bool]:
        plane = SeededFaults(FaultRates(seed=seed, duplicate=0.5))
        return [plane.duplicates() for _ in range(50)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("duplicate = 1.5", "duplicate is 1.5; it must be 0 to 1"),
        ("latency_ms = -1", "latency_ms is -1.0; it must not be negative"),
        ("late = -0.1", "late is -0.1; it must be 0 to 1"),
        ("throttle = 2", "throttle is 2.0; it must be 0 to 1"),
        ("purge_loses = nan", "purge_loses is nan; it must be 0 to 1"),
        ("latency_ms = inf", "latency_ms is inf; it must be finite"),
        ("partition_every_s = 30", "partition_every_s and partition_for_s go together"),
        (
            "partition_every_s = 5\npartition_for_s = 5",
            "partition_for_s is 5.0; it must be less than partition_every_s, which is 5.0",
        ),
        ("dupe = 1", "dupe"),
        ("duplicate = 'often'", "duplicate"),
        ("= 1", "could not be read"),
    ],
)
def test_rates_that_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=complaint) as refused:
        read_rates(path)
    assert str(path) in str(refused.value)
