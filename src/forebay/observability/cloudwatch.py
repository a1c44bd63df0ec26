"""The metrics of source document 002 in CloudWatch: what is measured, and when it is published.

What differs from the document's program, because there it was wrong: counts run on and each reader
takes its own differences, so that nothing is lost or shared between readers; a handler that is over
its time counts as an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from msgspec import Struct

from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError
from forebay.observability.recording import QueueSummary, summaries
from forebay.observability.view import WorkersView
from forebay.worker.snapshot import HISTOGRAM_BOUNDS_MS, Histogram

_log = logging.getLogger(__name__)

#: Where the metrics are unless another namespace is named. Source: document 002.
NAMESPACE = "SQS-FARGATE-CONSUMER-V2/SQSConsumer"

#: How often they are published, in seconds. Source: document 002.
PUBLISH_EVERY_S = 60.0

#: Most data in one call. Source: document 002; PutMetricData takes 1,000 since 2022.
DATA_A_CALL = 20

#: Data that are kept while they cannot be sent; then the oldest go. Source: document 002.
DATA_KEPT = 1_000

#: How long the last metrics may take before the process ends, in seconds.
_LAST_S = 5.0

#: What the dimension Component says of the buffer; of a queue it says the name.
_BUFFER = "Buffer"

#: The document's buckets of the wait, as its program names them; the rest is in the last.
_BUCKETS = ("0-100ms", "100-500ms", "500-1000ms", "1-5s", "5-10s", "10s+")

#: The buffer's channels by class, as metrics name them.
_USAGES = {
    3: "BufferHighPriorityUsage",
    2: "BufferMediumPriorityUsage",
    1: "BufferLowPriorityUsage",
}


class MetricsUnsent(ForebayError):
    """The metrics could not be sent to CloudWatch. They are kept and sent later."""


class MetricsRefused(ForebayError):
    """CloudWatch does not take these metrics. They are dropped."""


class Datum(Struct, frozen=True, kw_only=True):
    """One value of one metric."""

    name: str
    value: float
    #: CloudWatch's word: Count, Percent, Milliseconds or Count/Second.
    unit: str
    at_ms: int
    dimensions: dict[str, str]


class MetricSender(Protocol):
    """Takes data to CloudWatch."""

    async def send(self, namespace: str, data: Sequence[Datum]) -> None:
        """Send at most DATA_A_CALL data in one call.

        Raises MetricsUnsent when it may work later, and MetricsRefused when it never will.
        """
        ...


class _Buffer(Struct):
    """The priority buffers of all processes as one."""

    sizes: dict[int, int]
    capacities: dict[int, int]
    came_in: int
    went_out: int
    refused: int
    wait: Histogram


class Reader:
    """Makes data of views. What happened since its own last view is measured, whoever else reads.

    The first view is where it begins: it gives sizes, and no counts yet.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._at_ms: int | None = None
        self._queues: dict[str, tuple[QueueSummary, Histogram]] = {}
        self._buffer: _Buffer | None = None

    def data(self, view: WorkersView) -> list[Datum]:
        """What there is to say of a view."""
        found = [*self._of_queues(view), *self._of_buffer(view)]
        self._at_ms = view.at_ms
        return found

    def _of_queues(self, view: WorkersView) -> Iterator[Datum]:
        for queue in summaries(view):
            past = self._queues.get(queue.name)
            handling = _handling(view, queue.name)
            self._queues[queue.name] = (queue, handling)

            def datum(name: str, value: float, unit: str, component: str = queue.name) -> Datum:
                return self._datum(component, view.at_ms, name, value, unit)

            if queue.visible is not None:
                yield datum("VisibleMessages", queue.visible, "Count")
            if queue.in_flight is not None:
                yield datum("InFlightMessages", queue.in_flight, "Count")
            if past is None:
                continue
            before, handling_before = past
            yield datum("ProcessedMessages", queue.ledger.acked - before.ledger.acked, "Count")
            yield datum("Errors", queue.failures - before.failures, "Count")
            lately = _since(handling, handling_before)
            if sum(lately.counts):
                yield datum("AverageProcessingTime", _mean_ms(lately), "Milliseconds")
                yield datum("MaxLatency", lately.max_ms, "Milliseconds")

    def _of_buffer(self, view: WorkersView) -> Iterator[Datum]:
        now, before = _buffer(view), self._buffer
        self._buffer = now

        def datum(name: str, value: float, unit: str) -> Datum:
            return self._datum(_BUFFER, view.at_ms, name, value, unit)

        for priority, name in _USAGES.items():
            capacity = now.capacities.get(priority, 0)
            if capacity:
                yield datum(name, 100 * now.sizes[priority] / capacity, "Percent")
        yield datum("BufferTotalSize", sum(now.sizes.values()), "Count")
        if before is None or self._at_ms is None:
            return
        yield datum("BufferMessagesIn", now.came_in - before.came_in, "Count")
        yield datum("BufferMessagesOut", now.went_out - before.went_out, "Count")
        yield datum("BufferOverflows", now.refused - before.refused, "Count")
        duration_s = (view.at_ms - self._at_ms) / 1000
        if duration_s > 0:
            rate = (now.went_out - before.went_out) / duration_s
            yield datum("BufferProcessingRate", rate, "Count/Second")
        lately = _since(now.wait, before.wait)
        if sum(lately.counts):
            yield datum("BufferAverageWaitTime", _mean_ms(lately), "Milliseconds")
            yield datum("BufferMaxWaitTime", lately.max_ms, "Milliseconds")
        for bucket, count in zip(_BUCKETS, _bucketed(lately.counts), strict=True):
            each = datum("BufferWaitTimeDistribution", count, "Count")
            each.dimensions["TimeBucket"] = bucket
            yield each

    def _datum(self, component: str, at_ms: int, name: str, value: float, unit: str) -> Datum:
        return Datum(
            name=name,
            value=float(value),
            unit=unit,
            at_ms=at_ms,
            dimensions={"Component": component, "Region": self._region},
        )


def _handling(view: WorkersView, name: str) -> Histogram:
    return _sum(
        queue.handling
        for worker in view.snapshots()
        for queue in worker.queues
        if queue.name == name
    )


def _buffer(view: WorkersView) -> _Buffer:
    buffers = [buffer for worker in view.snapshots() for buffer in worker.buffers]
    sizes = dict.fromkeys((buffer.priority for buffer in buffers), 0)
    capacities = dict(sizes)
    for buffer in buffers:
        sizes[buffer.priority] += buffer.size
        capacities[buffer.priority] += buffer.capacity
    return _Buffer(
        sizes=sizes,
        capacities=capacities,
        came_in=sum(buffer.came_in for buffer in buffers),
        went_out=sum(buffer.went_out for buffer in buffers),
        refused=sum(buffer.refused for buffer in buffers),
        wait=_sum(buffer.wait for buffer in buffers),
    )


def _sum(histograms: Iterator[Histogram]) -> Histogram:
    total = Histogram()
    for each in histograms:
        total.counts = [a + b for a, b in zip(total.counts, each.counts, strict=True)]
        total.sum_ms += each.sum_ms
        total.max_ms = max(total.max_ms, each.max_ms)
    return total


def _since(now: Histogram, before: Histogram) -> Histogram:
    """What was added meanwhile.

    Its greatest value is known exactly when it is the greatest of all; else the upper bound of the
    highest bucket that got something stands for it.
    """
    counts = [a - b for a, b in zip(now.counts, before.counts, strict=True)]
    highest = max((index for index, count in enumerate(counts) if count), default=0)
    bounds = (*HISTOGRAM_BOUNDS_MS, now.max_ms)
    most_ms = now.max_ms if now.max_ms > before.max_ms else min(bounds[highest], now.max_ms)
    return Histogram(counts=counts, sum_ms=now.sum_ms - before.sum_ms, max_ms=most_ms)


def _mean_ms(values: Histogram) -> float:
    return values.sum_ms / sum(values.counts)


def _bucketed(counts: Sequence[int]) -> list[int]:
    last = len(_BUCKETS) - 1
    return [*counts[:last], sum(counts[last:])]


class CloudWatchPublisher:
    """Publishes what the workers show every minute, and keeps for later what cannot be sent."""

    def __init__(
        self,
        view: Callable[[], WorkersView],
        sender: MetricSender,
        *,
        region: str,
        namespace: str = NAMESPACE,
        clock: Clock | None = None,
    ) -> None:
        self._view = view
        self._sender = sender
        self._namespace = namespace
        self._clock = clock or SystemClock()
        self._reader = Reader(region)
        self._kept: deque[Datum] = deque(maxlen=DATA_KEPT)
        self._trouble = ""

    async def run(self) -> None:
        """Publish again and again, until cancelled."""
        while True:
            await self.publish()
            await self._clock.sleep(PUBLISH_EVERY_S)

    async def publish(self) -> None:
        """Measure, and send that and what was kept. Never raises; trouble is logged once."""
        self._keep(self._reader.data(self._view()))
        while self._kept:
            data = [self._kept.popleft() for _ in range(min(DATA_A_CALL, len(self._kept)))]
            try:
                await self._sender.send(self._namespace, data)
            except MetricsRefused as error:
                self._complain(f"{error}")
            except MetricsUnsent as error:
                self._kept.extendleft(reversed(data))
                self._complain(f"{error}")
                return
            except BaseException:
                self._kept.extendleft(reversed(data))
                raise
            else:
                self._trouble = ""

    def _keep(self, data: Sequence[Datum]) -> None:
        dropped = max(0, len(self._kept) + len(data) - DATA_KEPT)
        if dropped:
            _log.warning(
                "%d metrics of CloudWatch are dropped, the oldest: too many wait.", dropped
            )
        self._kept.extend(data)

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            _log.warning("%s", trouble)


@asynccontextmanager
async def publishing(publisher: CloudWatchPublisher) -> AsyncIterator[None]:
    """Publish for as long as the block lasts, and the rest at its end if that goes quickly."""
    running = asyncio.create_task(publisher.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await publisher.publish()
