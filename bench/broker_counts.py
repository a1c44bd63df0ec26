"""What a counted broker says of one queue."""

from __future__ import annotations

from urllib.request import urlopen

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families


class Counts(Struct):
    """The counts of a queue so far. Times are on the machine's monotonic clock."""

    deleted: int = 0
    calls: dict[str, int] = {}
    #: Requests as AWS bills them, by action.
    billed: dict[str, int] = {}
    #: Envelopes that were taken in.
    events: int = 0
    first_receive_s: float | None = None
    last_delete_s: float | None = None


def read(endpoint_url: str, queue: str) -> Counts:
    """Ask the broker's /metrics."""
    with urlopen(f"{endpoint_url}/metrics") as answer:
        text = answer.read().decode()
    counts = Counts(calls={}, billed={})
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("queue") != queue:
                continue
            match sample.name:
                case "forebay_queue_deleted_total":
                    counts.deleted = int(sample.value)
                case "bench_calls_total":
                    counts.calls[sample.labels["action"]] = int(sample.value)
                case "bench_billed_total":
                    counts.billed[sample.labels["action"]] = int(sample.value)
                case "bench_events_total":
                    counts.events = int(sample.value)
                case "bench_first_receive_seconds":
                    counts.first_receive_s = sample.value
                case "bench_last_delete_seconds":
                    counts.last_delete_s = sample.value
    return counts
