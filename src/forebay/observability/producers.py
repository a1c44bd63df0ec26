"""The metrics of producers, for Prometheus.

    from prometheus_client import start_http_server
    observe_producers(producer)
    start_http_server(9100)

What is measured stands here once; OpenTelemetry gets the same from
`forebay.observability.producers_otel`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from msgspec import Struct
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from forebay.producer.snapshot import ProducerSnapshot

#: The labels of all metrics: a queue's name, and which of its producers it is, from 0.
LABELS = ("queue", "producer")


class Observed(Protocol):
    """A Producer or a BackgroundProducer."""

    def snapshot(self) -> ProducerSnapshot:
        """The producer at this moment. May be called from any thread."""
        ...


class Measure(Struct, frozen=True):
    """Something that is measured of a producer: one value, or one by each value of a label."""

    name: str
    text: str
    value_of: Callable[[ProducerSnapshot], float | dict[str, int]]
    #: The label that tells the values apart; empty for one value.
    label: str = ""
    #: The unit as OpenTelemetry writes it. Prometheus has it in the name.
    unit: str = "{envelope}"


COUNTERS: list[Measure] = [
    Measure(
        "offered", "Envelopes that send and publish were called with", lambda it: it.ledger.offered
    ),
    Measure("delivered", "Envelopes that SQS acknowledged", lambda it: it.ledger.delivered),
    Measure(
        "dropped",
        "Envelopes that were not accepted, or given up for want of room",
        lambda it: it.ledger.dropped,
        "reason",
    ),
    Measure(
        "failed",
        "Envelopes that were accepted and are not known to be in SQS",
        lambda it: it.ledger.failed,
    ),
    Measure(
        "corrupt",
        "Envelopes that could not be read from the spill directory",
        lambda it: it.ledger.corrupt,
    ),
    Measure(
        "messages",
        "SQS messages acknowledged, packs and single ones",
        lambda it: it.messages_delivered,
        unit="{message}",
    ),
    Measure(
        "calls",
        "Attempts of a SendMessageBatch: answered, or failed as a whole",
        lambda it: {"answered": it.calls_answered, "failed": it.calls_failed},
        "result",
        unit="{call}",
    ),
    Measure("calls_seconds", "How long these attempts took", lambda it: it.calls_s, unit="s"),
    Measure(
        "errors",
        "What attempts failed for, of whole calls and of single messages",
        lambda it: it.errors,
        "code",
        unit="{error}",
    ),
    Measure("packs", "Packs sealed", lambda it: it.packs, unit="{pack}"),
    Measure("packed_bytes", "Size of the records in packs", lambda it: it.packed_bytes, unit="By"),
    Measure(
        "pack_billed_bytes",
        "Size of the packs as SQS bills it",
        lambda it: it.pack_billed_bytes,
        unit="By",
    ),
]

GAUGES: list[Measure] = [
    Measure(
        "buffered",
        "Envelopes in memory, waiting or under way",
        lambda it: it.ledger.buffered,
    ),
    Measure("capacity", "Most envelopes that may be buffered", lambda it: it.capacity),
    Measure("in_flight", "Envelopes in calls under way", lambda it: it.events_in_flight),
    Measure(
        "calls_in_flight",
        "Calls of SendMessageBatch under way",
        lambda it: it.calls_in_flight,
        unit="{call}",
    ),
    Measure(
        "oldest_age_seconds",
        "How long the oldest envelope that is not settled has waited",
        lambda it: it.oldest_ms / 1000,
        unit="s",
    ),
    Measure("spilled", "Envelopes in the spill directory", lambda it: it.ledger.spilled),
    Measure("spill_bytes", "Size of the spill directory", lambda it: it.spill_bytes, unit="By"),
]


def observe_producers(*producers: Observed, registry: CollectorRegistry = REGISTRY) -> Collector:
    """Show these producers in a Prometheus registry, until `registry.unregister` is called."""
    collector = _Producers(producers)
    registry.register(collector)
    return collector


def numbered(snapshots: Iterable[ProducerSnapshot]) -> Iterator[tuple[int, ProducerSnapshot]]:
    """Each with its number among the producers of its queue."""
    seen: Counter[str] = Counter()
    for snapshot in snapshots:
        yield seen[snapshot.queue], snapshot
        seen[snapshot.queue] += 1


def values(measure: Measure, snapshot: ProducerSnapshot) -> Iterator[tuple[list[str], float]]:
    """What a measure comes to, by the value of its label if it has one."""
    value = measure.value_of(snapshot)
    if isinstance(value, dict):
        yield from (([label], count) for label, count in value.items())
    else:
        yield [], value


class _Producers(Collector):
    def __init__(self, producers: Iterable[Observed]) -> None:
        self._producers = tuple(producers)

    def describe(self) -> Iterator[Metric]:
        return families(())

    def collect(self) -> Iterator[Metric]:
        snapshots = [producer.snapshot() for producer in self._producers]
        return families(
            ([snapshot.queue, str(number)], snapshot) for number, snapshot in numbered(snapshots)
        )


def families(
    labelled: Iterable[tuple[list[str], ProducerSnapshot]], labels: Iterable[str] = LABELS
) -> Iterator[Metric]:
    """The metrics of producers, each with the values of `labels`."""
    labelled, names = list(labelled), list(labels)
    for kind, measures in ((CounterMetricFamily, COUNTERS), (GaugeMetricFamily, GAUGES)):
        for measure in measures:
            own = [measure.label] if measure.label else []
            family = kind(f"forebay_producer_{measure.name}", measure.text, labels=[*names, *own])
            for of_producer, snapshot in labelled:
                for label, value in values(measure, snapshot):
                    family.add_metric([*of_producer, *label], value)
            yield family
