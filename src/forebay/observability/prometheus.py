"""The metrics of workers, and of the producers beside them, in Prometheus's text form.

A count is per process and goes on when another process takes the place of a dead one, so a sum over
the label `process` is exact. What SQS says of a queue is one value for all processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from forebay.observability.health import reasons
from forebay.observability.producers import LABELS, families, numbered
from forebay.observability.view import ProcessState, ProcessView, WorkersView
from forebay.worker.lease import ENDINGS
from forebay.worker.snapshot import (
    HISTOGRAM_BOUNDS_MS,
    BufferSnapshot,
    Histogram,
    QueueSnapshot,
    WorkerSnapshot,
)

WORKER_METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST

_QUEUE = ["queue", "priority"]
_QUEUE_OF_PROCESS = [*_QUEUE, "process"]
_CLASS_OF_PROCESS = ["priority", "process"]
_PROCESS = ["process"]

#: The classes as the label `priority` names them.
_CLASSES = {3: "high", 2: "medium", 1: "low"}

#: What SQS says of a queue: name, text, and what of a queue it is; None where it is not known.
_DEPTHS: list[tuple[str, str, Callable[[QueueSnapshot], int | None]]] = [
    ("visible_messages", "Messages that may be received", lambda queue: queue.visible),
    ("in_flight_messages", "Messages received and hidden", lambda queue: queue.in_flight),
    ("delayed_messages", "Messages whose delay has not ended", lambda queue: queue.delayed),
]

_QUEUE_GAUGES: list[tuple[str, str, Callable[[QueueSnapshot], float | None]]] = [
    ("polls", "Receives in flight", lambda queue: queue.polls),
    (
        "answered_ago_seconds",
        "How long ago a receive was answered, an empty answer too",
        lambda queue: queue.answered_ago_s,
    ),
    (
        "oldest_message_age_seconds",
        "Age of the oldest message that came in lately for the first time",
        lambda queue: queue.age_s,
    ),
    (
        "in_hand_messages",
        "Messages received whose ending SQS has not confirmed",
        lambda queue: queue.ledger.in_hand,
    ),
]

_QUEUE_COUNTERS: list[tuple[str, str, Callable[[QueueSnapshot], int]]] = [
    ("receives", "Receives", lambda queue: queue.receives),
    ("empty_receives", "Receives that brought nothing", lambda queue: queue.empty_receives),
    ("failed_receives", "Receives that failed", lambda queue: queue.failed_receives),
    ("received_messages", "Messages received", lambda queue: queue.ledger.received),
    (
        "failures",
        "Handlers that raised something else than Retry or Reject, or were over their time",
        lambda queue: queue.failures,
    ),
]

_BUFFER_GAUGES: list[tuple[str, str, Callable[[BufferSnapshot], int]]] = [
    ("buffer_messages", "Messages that wait for a handler", lambda buffer: buffer.size),
    ("buffer_capacity", "Most messages that may wait", lambda buffer: buffer.capacity),
]

_BUFFER_COUNTERS: list[tuple[str, str, Callable[[BufferSnapshot], int]]] = [
    ("buffer_in", "Messages that came into the buffer", lambda buffer: buffer.came_in),
    ("buffer_out", "Messages that went out of the buffer", lambda buffer: buffer.went_out),
    ("buffer_refused", "Messages that found the buffer full", lambda buffer: buffer.refused),
]

_PROCESS_GAUGES: list[tuple[str, str, Callable[[WorkerSnapshot], float]]] = [
    ("pollers", "Receives in flight", lambda worker: worker.pollers.busy),
    ("pollers_target", "Receives that may be in flight", lambda worker: worker.pollers.target),
    ("processors", "Handlers that run", lambda worker: worker.processors.busy),
    ("processors_target", "Handlers that may run", lambda worker: worker.processors.target),
    (
        "hanging_handlers",
        "Handlers that did not end in their time and still run",
        lambda worker: worker.hanging,
    ),
    (
        "loop_blocked_seconds",
        "The longest time that the event loop was held up lately",
        lambda worker: worker.loop_blocked_s,
    ),
]


class _Workers(Collector):
    def __init__(self, view: WorkersView) -> None:
        self._view = view
        self._workers = [
            (str(process.number), process.snapshot)
            for process in view.processes
            if process.snapshot is not None
        ]
        self._queues = [
            ([queue.name, _class(queue.priority), process], queue)
            for process, worker in self._workers
            for queue in worker.queues
        ]
        self._buffers = [
            ([_class(buffer.priority), process], buffer)
            for process, worker in self._workers
            for buffer in worker.buffers
        ]

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "forebay_worker_healthy", "1 while /health answers 200", not reasons(self._view)
        )
        yield from self._processes()
        yield from self._depths()
        yield from self._counts()
        yield from self._handlers()
        for name, text, value_of in _BUFFER_GAUGES:
            yield _filled(_gauge(name, text, _CLASS_OF_PROCESS), self._buffers, value_of)
        for name, text, count_of in _BUFFER_COUNTERS:
            yield _filled(_counter(name, text, _CLASS_OF_PROCESS), self._buffers, count_of)
        wait = _histogram(
            "buffer_wait_seconds", "From coming into the buffer to going out", _CLASS_OF_PROCESS
        )
        for labels, buffer in self._buffers:
            _add_histogram(wait, labels, buffer.wait)
        yield wait
        producers = [
            ([snapshot.queue, str(number), str(process.number)], snapshot)
            for process in self._view.processes
            for number, snapshot in numbered(process.producers)
        ]
        if producers:
            yield from families(producers, [*LABELS, *_PROCESS])

    def _handlers(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for process, worker in self._workers:
            for count in worker.counts:
                family = families.get(count.name)
                if family is None:
                    labels = [*count.labels, *_PROCESS]
                    family = CounterMetricFamily(f"forebay_{count.name}", count.text, labels=labels)
                    families[count.name] = family
                family.add_metric([*count.labels.values(), process], count.value)
        yield from families.values()

    def _processes(self) -> Iterator[Metric]:
        up = _gauge("process_up", "1 while the process runs and its worker works", _PROCESS)
        deaths = _counter("process_deaths", "Processes that ended without being told to", _PROCESS)
        for process in self._view.processes:
            up.add_metric([str(process.number)], _is_up(process))
            deaths.add_metric([str(process.number)], process.deaths)
        yield up
        yield deaths
        for name, text, value_of in _PROCESS_GAUGES:
            labelled = [([process], worker) for process, worker in self._workers]
            yield _filled(_gauge(name, text, _PROCESS), labelled, value_of)
        held = _gauge("held_back", "1 while this permit holds back polls", ["permit", *_PROCESS])
        for number, worker in self._workers:
            for permit in worker.held_back:
                held.add_metric([permit, number], 1)
        yield held

    def _depths(self) -> Iterator[Metric]:
        newest = [self._view.newest(name) for name in self._view.queue_names()]
        for name, text, value_of in _DEPTHS:
            gauge = _gauge(f"queue_{name}", text, _QUEUE)
            for queue in filter(None, newest):
                value = value_of(queue)
                if value is not None:
                    gauge.add_metric([queue.name, _class(queue.priority)], value)
            yield gauge

    def _counts(self) -> Iterator[Metric]:
        for name, text, value_of in _QUEUE_GAUGES:
            yield _filled(_gauge(name, text, _QUEUE_OF_PROCESS), self._queues, value_of)
        for name, text, count_of in _QUEUE_COUNTERS:
            yield _filled(_counter(name, text, _QUEUE_OF_PROCESS), self._queues, count_of)
        ended = _counter(
            "ended_messages", "Messages by how they ended here", [*_QUEUE_OF_PROCESS, "ending"]
        )
        handling = _histogram(
            "handling_seconds", "From the take of a handler to its end", _QUEUE_OF_PROCESS
        )
        for labels, queue in self._queues:
            for ending in (state.name.lower() for state in ENDINGS):
                ended.add_metric([*labels, ending], getattr(queue.ledger, ending))
            _add_histogram(handling, labels, queue.handling)
        yield ended
        yield handling


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily,
    labelled: list[tuple[list[str], Any]],
    value_of: Callable[[Any], float | None],
) -> Metric:
    for labels, one in labelled:
        value = value_of(one)
        if value is not None:
            family.add_metric(labels, value)
    return family


def _is_up(process: ProcessView) -> bool:
    return process.state in {ProcessState.WORKING, ProcessState.DRAINING}


def _class(priority: int) -> str:
    return _CLASSES.get(priority, str(priority))


def _gauge(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"forebay_worker_{name}", text, labels=labels)


def _counter(name: str, text: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"forebay_worker_{name}", text, labels=labels)


def _histogram(name: str, text: str, labels: list[str]) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"forebay_worker_{name}", text, labels=labels)


def _add_histogram(family: HistogramMetricFamily, labels: list[str], values: Histogram) -> None:
    bounds = [str(bound_ms / 1000) for bound_ms in HISTOGRAM_BOUNDS_MS] + ["+Inf"]
    so_far = 0
    buckets = []
    for bound, count in zip(bounds, values.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    family.add_metric(labels, buckets, values.sum_ms / 1000)


def worker_metrics_text(view: WorkersView) -> bytes:
    """All metrics of these workers."""
    registry = CollectorRegistry()
    registry.register(_Workers(view))
    return generate_latest(registry)
