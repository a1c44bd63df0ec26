"""The metrics of producers, for OpenTelemetry.

    from opentelemetry import metrics
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    observe_producers(producer)

Needs the extra `otel`. A producer is a batching processor and its exporter at once, so it has the
metrics that OpenTelemetry's conventions have for those of its SDK, beside all that Prometheus gets:
https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from forebay.errors import ForebayError
from forebay.observability.producers import (
    COUNTERS,
    GAUGES,
    Measure,
    Observed,
    numbered,
    values,
)
from forebay.producer.ledger import DropReason
from forebay.producer.producer import Producer
from forebay.producer.snapshot import ProducerSnapshot


class MetricsExtraMissing(ForebayError):
    """OpenTelemetry's metrics need OpenTelemetry. Run: pip install 'forebay[otel]'"""


try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
except ModuleNotFoundError as error:
    raise MetricsExtraMissing from error

_Attributes = Mapping[str, str | int]

#: The type of the component, by the conventions the name that the language has for it.
_COMPONENT_TYPE = f"{Producer.__module__}.{Producer.__qualname__}"

#: Why records were not processed, where the conventions have a word for it. The others have ours.
_ERROR_TYPES = {
    DropReason.FULL: "queue_full",
    DropReason.BLOCKED: "queue_full",
    DropReason.SPILL_FULL: "queue_full",
    DropReason.CLOSED: "already_shutdown",
}

#: Why records were not exported: the convention's word where no reason is known.
_REJECTED = "rejected"

_RECORD = "{log_record}"


def observe_producers(*producers: Observed, meter: Meter | None = None) -> None:
    """Have a meter observe these producers, for as long as it is read. Call it once for all.

    Without `meter` it is the global provider's.
    """
    view = _View(producers)
    meter = meter or get_meter("forebay")
    for measure in COUNTERS:
        meter.create_observable_counter(
            f"forebay.producer.{measure.name}",
            [view.of_measure(measure)],
            measure.unit,
            measure.text,
        )
    for measure in GAUGES:
        meter.create_observable_gauge(
            f"forebay.producer.{measure.name}",
            [view.of_measure(measure)],
            measure.unit,
            measure.text,
        )
    meter.create_observable_counter(
        "otel.sdk.processor.log.processed",
        [view.of_component(view.processed)],
        _RECORD,
        "Envelopes handed to a call, and those that were dropped instead",
    )
    meter.create_observable_up_down_counter(
        "otel.sdk.processor.log.queue.size",
        [view.of_component(_queued)],
        _RECORD,
        "Envelopes that wait in memory",
    )
    meter.create_observable_up_down_counter(
        "otel.sdk.processor.log.queue.capacity",
        [view.of_component(lambda _, it: [(it.capacity, {})])],
        _RECORD,
        "Most envelopes that may wait or be under way",
    )
    meter.create_observable_counter(
        "otel.sdk.exporter.log.exported",
        [view.of_component(_exported)],
        _RECORD,
        "Envelopes that SQS acknowledged, and those that it refused or that were left",
    )
    meter.create_observable_up_down_counter(
        "otel.sdk.exporter.log.inflight",
        [view.of_component(lambda _, it: [(it.events_in_flight, _server(it))])],
        _RECORD,
        "Envelopes in calls under way",
    )


class _View:
    """The producers as a meter sees them."""

    def __init__(self, producers: Iterable[Observed]) -> None:
        self._producers = tuple(producers)
        #: How many envelopes of each were handed to a call so far. One that waits to be sent again
        #: may be in none for a while, and a counter must not go down.
        self._handed: dict[str, int] = {}

    def of_measure(self, measure: Measure) -> Callable[[CallbackOptions], Iterator[Observation]]:
        """What a measure of ours comes to."""

        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for name, snapshot in self._named():
                ours = {"messaging.destination.name": snapshot.queue, "otel.component.name": name}
                for label, value in values(measure, snapshot):
                    own = {measure.label: label[0]} if label else {}
                    yield Observation(value, ours | own)

        return observe

    def of_component(
        self, observe: Callable[[str, ProducerSnapshot], Iterable[tuple[int, _Attributes]]]
    ) -> Callable[[CallbackOptions], Iterator[Observation]]:
        """Something that the conventions define, of a component by its name."""

        def observed(_: CallbackOptions) -> Iterator[Observation]:
            for name, snapshot in self._named():
                component = {"otel.component.name": name, "otel.component.type": _COMPONENT_TYPE}
                for value, own in observe(name, snapshot):
                    yield Observation(value, {**component, **own})

        return observed

    def processed(self, name: str, it: ProducerSnapshot) -> Iterator[tuple[int, _Attributes]]:
        """What was handed to a call, and what was not, by its reason."""
        handed = it.ledger.delivered + it.ledger.failed + it.events_in_flight
        self._handed[name] = max(handed, self._handed.get(name, 0))
        yield self._handed[name], {}
        lost: Counter[str] = Counter()
        for reason, count in it.ledger.dropped.items():
            lost[_ERROR_TYPES.get(DropReason(reason), reason)] += count
        lost["corrupt"] = it.ledger.corrupt
        for error_type, count in lost.items():
            yield count, {"error.type": error_type}

    def _named(self) -> Iterator[tuple[str, ProducerSnapshot]]:
        """Each with a name that is the same in every process and after every start."""
        for number, snapshot in numbered(producer.snapshot() for producer in self._producers):
            yield f"{snapshot.queue}/{number}", snapshot


def _queued(_: str, it: ProducerSnapshot) -> Iterator[tuple[int, _Attributes]]:
    yield max(it.ledger.buffered - it.events_in_flight, 0), {}


def _exported(_: str, it: ProducerSnapshot) -> Iterator[tuple[int, _Attributes]]:
    server = _server(it)
    yield it.ledger.delivered, server
    yield it.ledger.failed, {**server, "error.type": _REJECTED}


def _server(it: ProducerSnapshot) -> dict[str, str | int]:
    """Where SQS is, by the queue's URL; nothing before it is known."""
    parts = urlsplit(it.queue_url)
    if parts.hostname is None:
        return {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname, "server.port": port}
