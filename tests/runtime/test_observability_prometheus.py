"""The metrics of workers as Prometheus reads them."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from forebay.observability.prometheus import worker_metrics_text
from forebay.observability.view import ProcessState, WorkersView
from forebay.producer.ledger import ProducerLedger
from forebay.producer.snapshot import ProducerSnapshot
from forebay.worker.snapshot import Count
from tests.runtime.snapshots import buffer, histogram, ledger, process, queue, view, worker

PAGE = Path(__file__).parents[2] / "docs/reference/worker-metrics.md"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(seen: WorkersView) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(worker_metrics_text(seen).decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"forebay_worker_{name}", tuple(sorted(labels.items()))))


TWO = view(
    process(
        worker(
            queue(
                receives=5,
                failures=2,
                visible=7,
                age_s=3.5,
                ledger=ledger(received=9, acked=4, retried=2, in_hand=3),
                handling=histogram(50, 700, 90_000),
            ),
            buffers=[buffer(size=3, came_in=9, wait=histogram(10))],
            held_back={"database": "no free connection"},
        )
    ),
    process(worker(queue(receives=1, visible=6), at_ms=1_700_000_001_000), number=2),
)


def test_counts_are_by_process_and_depths_are_not() -> None:
    found = samples(TWO)
    orders = {"queue": "orders", "priority": "high"}
    assert value(found, "receives_total", process="1", **orders) == 5
    assert value(found, "receives_total", process="2", **orders) == 1
    assert value(found, "queue_visible_messages", **orders) == 6
    assert value(found, "ended_messages_total", process="1", ending="retried", **orders) == 2
    assert value(found, "in_hand_messages", process="1", **orders) == 3
    assert value(found, "failures_total", process="1", **orders) == 2
    assert value(found, "oldest_message_age_seconds", process="1", **orders) == 3.5
    assert value(found, "buffer_messages", process="1", priority="high") == 3
    assert value(found, "held_back", process="1", permit="database") == 1
    assert value(found, "healthy") == 1


def test_histograms_are_cumulative_and_in_seconds() -> None:
    found = samples(TWO)
    labels = {"queue": "orders", "priority": "high", "process": "1"}
    buckets = {
        bound: value(found, "handling_seconds_bucket", le=bound, **labels)
        for bound in ("0.1", "0.5", "1.0", "60.0", "+Inf")
    }
    assert buckets == {"0.1": 1, "0.5": 1, "1.0": 2, "60.0": 2, "+Inf": 3}
    assert value(found, "handling_seconds_count", **labels) == 3
    assert value(found, "handling_seconds_sum", **labels) == 90.75


def test_a_process_that_is_dead_is_down_and_its_counts_stay() -> None:
    dead = process(worker(queue(receives=5)), state=ProcessState.DEAD, deaths=3, died="SIGSEGV")
    found = samples(view(dead))
    assert value(found, "healthy") == 0
    assert value(found, "process_up", process="1") == 0
    assert value(found, "process_deaths_total", process="1") == 3
    labels = {"queue": "orders", "priority": "high", "process": "1"}
    assert value(found, "receives_total", **labels) == 5


def test_what_is_not_known_is_left_out() -> None:
    found = samples(view(process(worker(queue(visible=None, answered_ago_s=None)))))
    assert value(found, "queue_visible_messages", queue="orders", priority="high") is None
    labels = {"queue": "orders", "priority": "high", "process": "1"}
    assert value(found, "answered_ago_seconds", **labels) is None


def test_the_producers_of_a_process_are_shown_beside_its_worker() -> None:
    shown = process(worker(queue()))
    shown.producers = [
        ProducerSnapshot(
            queue_url="http://sqs.test/000000000000/usage-logs",
            queue="usage-logs",
            node="host-1",
            ledger=ProducerLedger(
                offered=9, delivered=7, dropped={"full": 2}, failed=0, buffered=0
            ),
            capacity=50_000,
        )
    ]
    found = samples(view(shown))
    labels = (("process", "1"), ("producer", "0"), ("queue", "usage-logs"))
    assert found["forebay_producer_offered_total", labels] == 9
    dropped = tuple(sorted([*labels, ("reason", "full")]))
    assert found["forebay_producer_dropped_total", dropped] == 2
    assert not any("forebay_producer" in name for name, _ in samples(TWO))


def test_the_page_names_every_metric_and_no_other() -> None:
    text = worker_metrics_text(TWO).decode()
    types = dict(re.findall(r"^# TYPE (forebay_worker_\w+) (\w+)$", text, re.MULTILINE))
    named = dict(
        re.findall(r"^\| `(forebay_worker_\w+)` \| (\w+) ", PAGE.read_text(), re.MULTILINE)
    )
    assert named == types


def test_what_handlers_count_is_a_metric_of_its_own_for_each_process() -> None:
    found = samples(
        view(
            process(
                worker(
                    counts=[
                        Count("usage_rows", "Rows", 70, {"type": "log"}),
                        Count("usage_rows", "Rows", 5, {"type": "event"}),
                        Count("usage_transactions", "Transactions", 3),
                    ]
                )
            ),
            process(worker(counts=[Count("usage_transactions", "Transactions", 4)]), number=2),
        )
    )
    of_two = ("forebay_usage_transactions_total", (("process", "2"),))
    assert found["forebay_usage_rows_total", (("process", "1"), ("type", "event"))] == 5
    assert found["forebay_usage_rows_total", (("process", "1"), ("type", "log"))] == 70
    assert found[of_two] == 4
