"""`forebay`, but its /metrics also count the calls to each queue, and tell when they came.

They say too what AWS would bill for them, and how many envelopes came in, packed or not. A worker
or a producer is measured by what its broker saw, not by what it says of itself.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.json import Decoder
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from forebay.broker import metrics, pages
from forebay.broker.broker import Broker
from forebay.broker.core.engine import Caller
from forebay.broker.core.message_attributes import attributes_size_bytes
from forebay.broker.polls import Answer, ParkedPoll, Reply
from forebay.cli.main import main
from forebay.messages.packing import PACK_ATTRIBUTE, PackHeader
from forebay.protocol.actions import (
    AnyRequest,
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
    MessageToSend,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageBatchRequest,
    SendMessageBatchResult,
    SendMessageRequest,
)
from forebay.protocol.limits import BILLED_CHUNK_BYTES

#: Calls by queue and then by action.
_calls: defaultdict[str, Counter[str]] = defaultdict(Counter)

#: What AWS bills for them: requests of BILLED_CHUNK_BYTES, or part of that.
_billed: defaultdict[str, Counter[str]] = defaultdict(Counter)

#: Envelopes that were taken in, by queue; one that is sent twice counts twice.
_events: Counter[str] = Counter()

_decode_header = Decoder(PackHeader).decode

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
    if isinstance(request, SendMessageRequest):
        _bill(queue, action, _sent_bytes(request))
        _events[queue] += _events_of(request)
    elif isinstance(request, SendMessageBatchRequest):
        _bill(queue, action, sum(map(_sent_bytes, request.entries)))
        reply = _counting_events(queue, request, reply)
    elif isinstance(request, ReceiveMessageRequest):
        reply = _billing_receive(queue, reply)
    else:
        _bill(queue, action, 0)
    return _submit(self, request, caller, reply)


def _noting_delete(queue: str, reply: Reply) -> Reply:
    def answered(answer: Answer) -> None:
        _last_delete_s[queue] = time.monotonic()
        reply(answer)

    return answered


def _bill(queue: str, action: str, size_bytes: int) -> None:
    _billed[queue][action] += max(1, -(-size_bytes // BILLED_CHUNK_BYTES))


def _billing_receive(queue: str, reply: Reply) -> Reply:
    def answered(answer: Answer) -> None:
        messages = (isinstance(answer, ReceiveMessageResult) and answer.messages) or []
        size_bytes = sum(
            len(message.body.encode()) + attributes_size_bytes(message.message_attributes or {})
            for message in messages
        )
        _bill(queue, "ReceiveMessage", size_bytes)
        reply(answer)

    return answered


def _counting_events(queue: str, request: SendMessageBatchRequest, reply: Reply) -> Reply:
    def answered(answer: Answer) -> None:
        if isinstance(answer, SendMessageBatchResult):
            taken = {entry.id for entry in answer.successful or ()}
            _events[queue] += sum(
                _events_of(entry) for entry in request.entries if entry.id in taken
            )
        reply(answer)

    return answered


def _sent_bytes(message: MessageToSend) -> int:
    attributes = message.message_attributes or {}
    return len(message.message_body.encode()) + attributes_size_bytes(attributes)


def _events_of(message: MessageToSend) -> int:
    if PACK_ATTRIBUTE in (message.message_attributes or {}):
        return _decode_header(message.message_body).events
    return 1


class _Calls(Collector):
    def collect(self) -> Iterable[Metric]:
        yield self._counted("bench_calls", "Calls", _calls)
        yield self._counted("bench_billed", "Requests as AWS bills them", _billed)
        events = CounterMetricFamily("bench_events", "Envelopes taken in", labels=["queue"])
        for queue, count in _events.items():
            events.add_metric([queue], count)
        yield events
        yield from self._times()

    def _counted(self, name: str, text: str, counts: Mapping[str, Mapping[str, int]]) -> Metric:
        counter = CounterMetricFamily(name, text, labels=["queue", "action"])
        for queue, actions in counts.items():
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
