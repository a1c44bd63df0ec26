"""What a running worker knows of itself: for its next receives, its scaling and whoever watches."""

from __future__ import annotations

import os
from collections.abc import Sequence

from msgspec import Struct

from forebay.clock import Clock
from forebay.worker.autoscaler import Autoscaler
from forebay.worker.depths import Depth
from forebay.worker.polling import (
    Line,
    Stock,
    behind_others,
    capacity,
    receive_limit,
)
from forebay.worker.priority_buffer import PriorityBuffer
from forebay.worker.processing import Job, Processing
from forebay.worker.queue import Priority
from forebay.worker.receiving import Receiver
from forebay.worker.scaling import Load, Rate
from forebay.worker.settings import WorkerSettings
from forebay.worker.snapshot import (
    Count,
    Histogram,
    PoolSnapshot,
    QueueSnapshot,
    WorkerSnapshot,
)
from forebay.worker.source import Source

#: The weight of the latest handler in the usual time of one.
_LATEST_WEIGHT = 0.1


class Service(Struct, eq=False):
    """One queue that a worker serves, with all that serves it."""

    source: Source
    receiver: Receiver
    depth: Depth
    #: The largest batch that a handler of its messages wants; 0 without batch handlers.
    batch_handlers: int
    handling: Histogram
    #: The usual time of a handler for one message; None before the first is done.
    handling_s: float | None = None
    #: Messages whose handler has ended.
    completed: int = 0

    def handled(self, took_s: float, messages: int) -> None:
        """A handler has ended that got so many of its messages."""
        self.handling.add(took_s * 1000)
        self.completed += messages
        each_s = took_s / messages
        usual_s = each_s if self.handling_s is None else self.handling_s
        self.handling_s = usual_s + _LATEST_WEIGHT * (each_s - usual_s)

    @property
    def visible(self) -> int | None:
        """Messages that are thought to be visible; None when nobody knows."""
        return 0 if self.receiver.quiet else self.depth.visible


class Services:
    """All queues of a worker together, and what they, its buffer and its places look like."""

    def __init__(
        self,
        services: Sequence[Service],
        processing: Processing,
        buffer: PriorityBuffer[Job],
        settings: WorkerSettings,
        clock: Clock,
    ) -> None:
        self._services = services
        self._processing = processing
        self._buffer = buffer
        self.settings = settings
        self._clock = clock
        self._arriving, self._receiving, self._completing = Rate(), Rate(), Rate()
        #: Most messages of each class that may wait, as of the last look.
        self._capacities: dict[Priority, int] = {}
        self.reckon_capacities()

    @property
    def in_hand(self) -> int:
        """Messages whose ending SQS has not confirmed, those that wait or run included."""
        return sum(service.source.in_hand for service in self._services)

    def flush(self) -> None:
        """Delete now what is gathered for deletion."""
        for service in self._services:
            service.source.flush()

    def lose_all(self) -> int:
        """Give up everything in hand. Returns how much that was."""
        return sum(service.source.lose_all() for service in self._services)

    def reckon_capacities(self) -> None:
        """Reckon anew how many messages of each class may wait, from what handlers take now."""
        busy = [each.source.priority for each in self._services if not each.receiver.quiet]
        highest = max(busy, default=None)
        for priority in Priority:
            most = self._capacity(priority)
            if highest is not None and priority < highest:
                most = behind_others(
                    most,
                    settings=self.settings,
                    concurrency=self._processing.concurrency,
                    handling_s=self._handling_s(),
                )
            self._capacities[priority] = most

    def _handling_s(self) -> float | None:
        """The usual time of a handler for one message, of the queue where it is longest."""
        times_s = [each.handling_s for each in self._services if each.handling_s is not None]
        return max(times_s, default=None)

    def stock(self) -> Stock:
        """What is in hand, for the next receives."""
        processing = self._processing
        return Stock(
            free=max(0, processing.concurrency - processing.running),
            ready=processing.ready,
            waiting={priority: processing.waiting_of(priority) for priority in Priority},
            capacity=self._capacities,
            unconfirmed=self.in_hand - processing.running_messages - processing.waiting,
        )

    def line(self, service: Service, *, free: int | None) -> Line:
        """A queue as the next receives see it."""
        source, receiver = service.source, service.receiver
        return Line(
            name=source.name,
            priority=source.priority,
            weight=source.queue.weight,
            polls=receiver.polls,
            requested=receiver.requested,
            batch=receive_limit(
                self.settings.batch,
                fifo=source.fifo,
                handling_s=service.handling_s,
                visibility_timeout_s=source.visibility_timeout_s,
            ),
            quiet=receiver.quiet,
            free=free,
            visible=service.depth.visible or 0,
        )

    def load(self) -> Load:
        """What the scaling policy goes by, when it decides."""
        self.reckon_capacities()
        now_ms = self._clock.monotonic_ms()
        received = sum(service.receiver.received for service in self._services)
        visible = _sum([service.visible for service in self._services])
        self._receiving.observe(received, now_ms)
        self._completing.observe(sum(each.completed for each in self._services), now_ms)
        if visible is not None:
            self._arriving.observe(received + visible, now_ms)
        handling_s = self._handling_s()
        latencies_s = [each.receiver.latency_s for each in self._services]
        yields = [each.receiver.yield_count for each in self._services if each.receiver.received]
        high_first = sorted(Priority, reverse=True)
        waited_s = self._buffer.oldest_wait_ms(now_ms) / 1000
        return Load(
            buffered=_three([self._processing.waiting_of(each) for each in high_first]),
            capacity=_three([self._capacities[each] for each in high_first]),
            visible=visible,
            in_flight=_sum([service.depth.in_flight for service in self._services]),
            handling_ms=None if handling_s is None else handling_s * 1000,
            arrival_per_s=None if visible is None else self._arriving.per_s,
            received_per_s=self._receiving.per_s or 0.0,
            completed_per_s=self._completing.per_s or 0.0,
            oldest_age_s=max([waited_s, *(each.receiver.age_s for each in self._services)]),
            receive_ms=max(latencies_s, default=0.0) * 1000 or None,
            messages_per_receive=sum(yields) / len(yields) if yields else None,
            batch=self.settings.batch,
            interval_s=self.settings.scale_interval_s,
        )

    def snapshot(
        self,
        autoscaler: Autoscaler,
        *,
        state: str,
        hanging: int,
        blocked_s: float,
        held_back: dict[str, str],
        counts: list[Count],
    ) -> WorkerSnapshot:
        """The worker at this moment."""
        pollers, processors = autoscaler.pools()
        now_ms = self._clock.monotonic_ms()
        return WorkerSnapshot(
            at_ms=self._clock.wall_ms(),
            process_id=os.getpid(),
            state=state,
            queues=[self._queue(service, now_ms) for service in self._services],
            buffers=self._buffer.stats(),
            pollers=PoolSnapshot(
                target=pollers.target, busy=pollers.busy, least=pollers.least, most=pollers.most
            ),
            processors=PoolSnapshot(
                target=processors.target,
                busy=processors.busy,
                least=processors.least,
                most=processors.most,
            ),
            decisions=autoscaler.decisions,
            hanging=hanging,
            loop_blocked_s=blocked_s,
            held_back=held_back,
            counts=counts,
        )

    def _queue(self, service: Service, now_ms: int) -> QueueSnapshot:
        source, receiver, depth = service.source, service.receiver, service.depth
        since_ms = receiver.silent_since_ms
        return QueueSnapshot(
            name=source.name,
            priority=source.priority,
            visible=depth.visible,
            in_flight=depth.in_flight,
            delayed=depth.delayed,
            counted_ago_s=None if depth.asked_ms is None else (now_ms - depth.asked_ms) / 1000,
            polls=receiver.polls,
            wait_s=self.settings.wait_s,
            answered_ago_s=None if since_ms is None else (now_ms - since_ms) / 1000,
            receives=receiver.receives,
            empty_receives=receiver.empty_receives,
            failed_receives=receiver.failed_receives,
            trouble=receiver.trouble,
            age_s=receiver.age_s,
            ledger=source.ledger,
            failures=source.failures,
            handling=Histogram(
                list(service.handling.counts), service.handling.sum_ms, service.handling.max_ms
            ),
        )

    def _capacity(self, priority: Priority) -> int:
        """Most messages of a class that may wait."""
        size = self.settings.buffer_capacity(priority)
        of_class = [each for each in self._services if each.source.priority is priority]
        return max(
            (
                capacity(
                    size,
                    concurrency=self._processing.concurrency,
                    batch=self.settings.batch,
                    handling_s=service.handling_s,
                    visibility_timeout_s=service.source.visibility_timeout_s,
                    batch_handlers=service.batch_handlers,
                    fifo=service.source.fifo,
                )
                for service in of_class
            ),
            default=size,
        )


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    high, medium, low = values
    return high, medium, low
