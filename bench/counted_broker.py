"""`forebay`, but its /metrics also count the calls to each queue, and tell when they came.

A worker is measured by what its broker saw, not by what it says of itself.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from forebay.broker import metrics, pages
from forebay.broker.broker import Broker
from forebay.broker.core.engine import Caller
from forebay.broker.polls import Answer, ParkedPoll, Reply
from forebay.cli.main import main
from forebay.protocol.actions import AnyRequest, DeleteMessageBatchRequest, DeleteMessageRequest

#: Calls by queue and then by action.
_calls: defaultdict[str, Counter[str]] = defaultdict(Counter)

#: When a queue was first received from and when a delete was last answered: time.monotonic().
_first_receive_s: dict[str, float] = {}
_last_delete_s: dict[str, float] = {}

_submit = Broker.submit


def submit(self: Broker, request: AnyRequest, caller: Caller, reply: Reply) -> ParkedPoll | None:
    """Broker.submit, counted."""
    queue = getattr(request, "queue_url", "").rpartition("/")[2]
    action = type(request).__name__.removesuffix("Request")
    _calls[queue][action] += 1
    if action == "ReceiveMessage":
        _first_receive_s.setdefault(queue, time.monotonic())
    elif isinstance(request, DeleteMessageRequest | DeleteMessageBatchRequest):
        reply = _noting_delete(queue, reply)
    return _submit(self, request, caller, reply)


def _noting_delete(queue: str, reply: Reply) -> Reply:
    def answered(answer: Answer) -> None:
        _last_delete_s[queue] = time.monotonic()
        reply(answer)

    return answered


class _Calls(Collector):
    def collect(self) -> Iterable[Metric]:
        yield self._counted()
        yield from self._times()

    def _counted(self) -> Metric:
        counter = CounterMetricFamily("bench_calls", "Calls", labels=["queue", "action"])
        for queue, actions in _calls.items():
            for action, count in actions.items():
                counter.add_metric([queue, action], count)
        return counter

    def _times(self) -> Iterator[Metric]:
        for name, times in (
            ("bench_first_receive_seconds", _first_receive_s),
            ("bench_last_delete_seconds", _last_delete_s),
        ):
            gauge = GaugeMetricFamily(name, "A time on the monotonic clock", labels=["queue"])
            for queue, at_s in times.items():
                gauge.add_metric([queue], at_s)
            yield gauge


def metrics_text(*arguments: Any) -> bytes:
    """The broker's metrics, and the calls."""
    registry = CollectorRegistry()
    registry.register(_Calls())
    return metrics.metrics_text(*arguments) + generate_latest(registry)


Broker.submit = submit  # type: ignore[method-assign]
pages.metrics_text = metrics_text  # type: ignore[assignment, attr-defined]

if __name__ == "__main__":
    main()
