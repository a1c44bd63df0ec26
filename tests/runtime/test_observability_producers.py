"""The metrics of producers, as Prometheus and OpenTelemetry read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.metrics import otel_metrics
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from forebay.observability import producers_otel
from forebay.observability.producers import observe_producers
from forebay.producer.ledger import DropReason, ProducerLedger
from forebay.producer.snapshot import ProducerSnapshot

PAGE = Path(__file__).parents[2] / "docs/reference/producer-metrics.md"
CONVENTIONS = vars(otel_metrics)


class Shown:
    """A producer that shows what it is told to."""

    def __init__(self, queue: str = "usage-logs", **fields: Any) -> None:
        self.queue = queue
        self.fields = fields

    def snapshot(self) -> ProducerSnapshot:
        usual: dict[str, Any] = {"ledger": ledger(), "capacity": 50_000}
        return ProducerSnapshot(
            queue_url=f"http://sqs.test:9324/000000000000/{self.queue}",
            queue=self.queue,
            node="host-1",
            **usual | self.fields,
        )


def ledger(**counts: Any) -> ProducerLedger:
    dropped = dict.fromkeys(DropReason, 0) | counts.pop("dropped", {})
    usual = {"delivered": 0, "failed": 0, "buffered": 0, "corrupt": 0, "spilled": 0} | counts
    return ProducerLedger(
        offered=sum(usual.values()) + sum(dropped.values()),
        dropped={str(reason): count for reason, count in dropped.items()},
        **usual,
    )


BUSY = Shown(
    ledger=ledger(
        delivered=900,
        failed=30,
        corrupt=4,
        buffered=50,
        spilled=200,
        dropped={"full": 7, "blocked": 2, "closed": 1, "too_large": 3},
    ),
    calls_in_flight=2,
    events_in_flight=20,
    calls_answered=95,
    calls_failed=5,
    calls_s=2.5,
    errors={"InternalFailure": 6},
    messages_delivered=9,
    packs=9,
    packed_bytes=6_000,
    pack_billed_bytes=600,
    oldest_ms=1_500,
    spill_bytes=4_096,
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def prometheus(*producers: Shown) -> Samples:
    registry = CollectorRegistry()
    observe_producers(*producers, registry=registry)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    labels = {"queue": "usage-logs", "producer": "0"} | labels
    return found[f"forebay_producer_{name}", frozenset(labels.items())]


class Meter:
    """What a reader of OpenTelemetry's SDK collects."""

    def __init__(self, *producers: Shown) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader])
        producers_otel.observe_producers(*producers, meter=self._provider.get_meter("test"))

    def metrics(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        assert data is not None
        [resource] = data.resource_metrics
        [scope] = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}

    def points(self, name: str) -> list[tuple[Mapping[str, Any], float]]:
        return [
            (dict(point.attributes), point.value) for point in self.metrics()[name].data.data_points
        ]


def test_prometheus_shows_the_whole_ledger_and_its_sum() -> None:
    found = prometheus(BUSY)
    dropped = [
        count for (name, _), count in found.items() if name == "forebay_producer_dropped_total"
    ]
    assert len(dropped) == len(DropReason)
    assert value(found, "dropped_total", reason="full") == 7
    assert value(found, "offered_total") == 1_197
    assert value(found, "offered_total") == sum(dropped) + sum(
        value(found, name)
        for name in ("delivered_total", "failed_total", "corrupt_total", "buffered", "spilled")
    )
    assert value(found, "calls_total", result="failed") == 5
    assert value(found, "errors_total", code="InternalFailure") == 6
    assert value(found, "oldest_age_seconds") == 1.5
    assert value(found, "capacity") == 50_000


def test_two_producers_of_one_queue_are_told_apart() -> None:
    found = prometheus(BUSY, Shown(capacity=7), Shown("orders", capacity=8))
    assert value(found, "capacity") == 50_000
    assert value(found, "capacity", producer="1") == 7
    assert value(found, "capacity", queue="orders") == 8


def test_a_registry_shows_producers_until_they_are_taken_out() -> None:
    registry = CollectorRegistry()
    collector = observe_producers(BUSY, registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        observe_producers(BUSY, registry=registry)
    registry.unregister(collector)
    assert generate_latest(registry) == b""


def test_opentelemetry_gets_what_prometheus_gets() -> None:
    metrics = Meter(BUSY).metrics()
    theirs = {
        re.sub("_total$", "", name.removeprefix("forebay_producer_"))
        for name, _ in prometheus(BUSY)
        if name != "forebay_producer_created"
    }
    ours = {name.removeprefix("forebay.producer.") for name in metrics if "forebay" in name}
    assert ours == theirs
    points = Meter(BUSY).points("forebay.producer.dropped")
    component = {"messaging.destination.name": "usage-logs", "otel.component.name": "usage-logs/0"}
    assert ({**component, "reason": "full"}, 7) in points


@pytest.mark.parametrize(
    "name",
    [
        "otel.sdk.processor.log.processed",
        "otel.sdk.processor.log.queue.size",
        "otel.sdk.processor.log.queue.capacity",
        "otel.sdk.exporter.log.exported",
        "otel.sdk.exporter.log.inflight",
    ],
)
def test_the_conventions_metrics_are_as_the_conventions_have_them(name: str) -> None:
    """By the package that the conventions publish: name, unit and kind of instrument."""
    assert CONVENTIONS[name.upper().replace(".", "_")] == name
    provider_reader = InMemoryMetricReader()
    theirs = MeterProvider([provider_reader]).get_meter("theirs")
    CONVENTIONS[f"create_{name.replace('.', '_')}"](theirs).add(1)
    data = provider_reader.get_metrics_data()
    assert data is not None
    [expected] = data.resource_metrics[0].scope_metrics[0].metrics
    metric = Meter(BUSY).metrics()[name]
    assert metric.unit == expected.unit
    assert type(metric.data) is type(expected.data)
    assert vars(metric.data)["is_monotonic"] == vars(expected.data)["is_monotonic"]


def test_the_conventions_metrics_have_their_attributes_and_reasons() -> None:
    meter = Meter(BUSY)
    component = {
        "otel.component.name": "usage-logs/0",
        "otel.component.type": "forebay.producer.producer.Producer",
    }
    server = {"server.address": "sqs.test", "server.port": 9324}
    processed = meter.points("otel.sdk.processor.log.processed")
    assert (component, 950) in processed
    reasons = {
        attributes["error.type"]: count
        for attributes, count in processed
        if "error.type" in attributes and count
    }
    assert reasons == {"queue_full": 9, "already_shutdown": 1, "too_large": 3, "corrupt": 4}
    assert meter.points("otel.sdk.processor.log.queue.size") == [(component, 30)]
    assert meter.points("otel.sdk.processor.log.queue.capacity") == [(component, 50_000)]
    assert meter.points("otel.sdk.exporter.log.inflight") == [(component | server, 20)]
    assert meter.points("otel.sdk.exporter.log.exported") == [
        (component | server, 900),
        (component | server | {"error.type": "rejected"}, 30),
    ]


def test_what_was_handed_to_a_call_does_not_go_down() -> None:
    one = Shown(ledger=ledger(delivered=5, buffered=10), events_in_flight=10)
    meter = Meter(one)
    assert meter.points("otel.sdk.processor.log.processed")[0][1] == 15
    one.fields["events_in_flight"] = 0
    assert meter.points("otel.sdk.processor.log.processed")[0][1] == 15


def test_the_page_names_every_metric_and_no_other() -> None:
    registry = CollectorRegistry()
    observe_producers(BUSY, registry=registry)
    types = {
        f"{name}_total" if kind == "counter" and not name.endswith("_total") else name: kind
        for name, kind in re.findall(
            r"^# TYPE (forebay_producer_\w+) (\w+)$",
            generate_latest(registry).decode(),
            re.MULTILINE,
        )
    }
    text = PAGE.read_text()
    named = dict(re.findall(r"^\| `(forebay_producer_\w+)` \| (\w+) ", text, re.MULTILINE))
    assert named == types
    semantic = set(re.findall(r"^\| `(otel\.sdk[\w.]+)` \|", text, re.MULTILINE))
    assert semantic == {name for name in Meter(BUSY).metrics() if name.startswith("otel.")}
