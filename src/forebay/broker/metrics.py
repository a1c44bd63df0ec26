"""The broker's metrics in Prometheus's text form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec.structs import fields
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from forebay.broker.core.engine import QueueView
from forebay.broker.core.queue import QueueTotals
from forebay.broker.journal.base import Room
from forebay.broker.memory_limit import MemoryLimit

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST

_LABELS = ["account", "region", "queue"]

#: Gauges by the field of QueueView that each shows.
_GAUGES = {
    "visible": "Messages that may be received",
    "in_flight": "Messages received and hidden",
    "delayed": "Messages whose delay has not ended",
    "oldest_message_age_s": "Age of the oldest message in seconds",
}

#: Gauges of some queues alone: name, text and what of a view they show, None where there is none.
_OTHER_GAUGES: list[tuple[str, str, Callable[[QueueView], float | None]]] = [
    (
        "oldest_unprocessed_age_seconds",
        "Age of the oldest message as CloudWatch counts it: without those received three times or"
        " more, and from when a dead letter came to the queue",
        lambda queue: queue.oldest_unprocessed_age_s,
    ),
    (
        "noisy_groups",
        "Message groups that take too large a share of the consumers",
        lambda queue: None if queue.fair is None else queue.fair.noisy_groups,
    ),
    (
        "quiet_visible_messages",
        "Messages of quiet groups that may be received",
        lambda queue: None if queue.fair is None else queue.fair.quiet_visible,
    ),
    (
        "quiet_in_flight_messages",
        "Messages of quiet groups received and hidden",
        lambda queue: None if queue.fair is None else queue.fair.quiet_in_flight,
    ),
    (
        "quiet_delayed_messages",
        "Messages of quiet groups whose delay has not ended",
        lambda queue: None if queue.fair is None else queue.fair.quiet_delayed,
    ),
    (
        "quiet_oldest_unprocessed_age_seconds",
        "Age of the oldest message of the quiet groups as CloudWatch counts it",
        lambda queue: None if queue.fair is None else queue.fair.quiet_oldest_message_age_s,
    ),
    (
        "groups_in_flight",
        "Message groups of a FIFO queue with messages in flight",
        lambda queue: queue.groups_in_flight,
    ),
]

#: What each total counts, by the field of QueueTotals.
_TOTALS = {
    "sent": "Messages sent",
    "deduplicated": "Sends collapsed into an earlier one",
    "refused": "Messages refused because the broker was short of room",
    "received": "Receives of messages",
    "deleted": "Messages deleted",
    "dead_lettered": "Messages moved to the dead-letter queue",
    "expired": "Messages whose retention ended",
}


class _Queues(Collector):
    """The queues as they were when they were looked at."""

    def __init__(self, queues: Iterable[QueueView]) -> None:
        self._queues = list(queues)

    def collect(self) -> Iterator[Metric]:
        for field, text in _GAUGES.items():
            name = field.removesuffix("_s") + ("_seconds" if field.endswith("_s") else "_messages")
            gauge = GaugeMetricFamily(f"forebay_queue_{name}", text, labels=_LABELS)
            for queue in self._queues:
                gauge.add_metric(_labels(queue), getattr(queue, field))
            yield gauge
        for name, text, value_of in _OTHER_GAUGES:
            gauge = GaugeMetricFamily(f"forebay_queue_{name}", text, labels=_LABELS)
            for queue in self._queues:
                value = value_of(queue)
                if value is not None:
                    gauge.add_metric(_labels(queue), value)
            yield gauge
        for total in fields(QueueTotals):
            counter = CounterMetricFamily(
                f"forebay_queue_{total.name}", _TOTALS[total.name], labels=_LABELS
            )
            for queue in self._queues:
                counter.add_metric(_labels(queue), getattr(queue.totals, total.name))
            yield counter


def _labels(queue: QueueView) -> list[str]:
    return [queue.account_id, queue.region, queue.name]


class _Broker(Collector):
    """What is short, and how much room there is."""

    def __init__(
        self, alarms: Mapping[str, str | None], room: Room | None, memory: MemoryLimit
    ) -> None:
        self._alarms = alarms
        self._room = room
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        alarm = GaugeMetricFamily(
            "forebay_alarm", "1 while messages are refused for want of this", labels=["alarm"]
        )
        for name, reason in self._alarms.items():
            alarm.add_metric([name], reason is not None)
        yield alarm
        yield GaugeMetricFamily(
            "forebay_memory_taken_bytes",
            "What messages and deduplication ids take of memory",
            self._memory.taken_bytes,
        )
        yield GaugeMetricFamily(
            "forebay_memory_limit_bytes",
            "What they may take; 0 for no bound",
            self._memory.limit_bytes,
        )
        if self._room is not None:
            yield GaugeMetricFamily(
                "forebay_disk_room_bytes",
                "What can still be written, the reserve included",
                self._room.left_bytes,
            )
            yield GaugeMetricFamily(
                "forebay_disk_reserve_bytes",
                "What of that is kept for receives and deletes",
                self._room.reserve_bytes,
            )


def metrics_text(
    queues: Iterable[QueueView],
    alarms: Mapping[str, str | None],
    room: Room | None,
    memory: MemoryLimit,
) -> bytes:
    """All metrics of these queues and of the broker that has them."""
    registry = CollectorRegistry()
    registry.register(_Broker(alarms, room, memory))
    registry.register(_Queues(queues))
    return generate_latest(registry)
