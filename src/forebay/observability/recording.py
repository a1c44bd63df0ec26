"""What workers did over time, remembered from their views: rates, series and decisions. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from forebay.observability.view import WorkersView, ledger_of
from forebay.worker.ledger import WorkerLedger
from forebay.worker.snapshot import Decision, PoolSnapshot, QueueSnapshot, WorkerSnapshot


class QueueSummary(Struct, kw_only=True):
    """One queue over all processes."""

    name: str
    priority: int
    visible: int | None
    in_flight: int | None
    delayed: int | None
    polls: int
    age_s: float
    ledger: WorkerLedger
    failures: int
    handled: int
    handling_ms: float
    trouble: str


def summaries(view: WorkersView) -> list[QueueSummary]:
    """The queues, highest class first. Counts are sums, the age is that of the oldest message."""
    return [_summary(view, name) for name in view.queue_names()]


def _summary(view: WorkersView, name: str) -> QueueSummary:
    told: list[QueueSnapshot] = [
        queue for worker in view.snapshots() for queue in worker.queues if queue.name == name
    ]
    newest = view.newest(name) or told[0]
    return QueueSummary(
        name=name,
        priority=newest.priority,
        visible=newest.visible,
        in_flight=newest.in_flight,
        delayed=newest.delayed,
        polls=sum(queue.polls for queue in told),
        age_s=max(queue.age_s for queue in told),
        ledger=sum((queue.ledger for queue in told), WorkerLedger()),
        failures=sum(queue.failures for queue in told),
        handled=sum(sum(queue.handling.counts) for queue in told),
        handling_ms=sum(queue.handling.sum_ms for queue in told),
        trouble=next((queue.trouble for queue in told if queue.trouble), ""),
    )


class Rates(Struct):
    """What one queue did between two views, a second; None where that is not known."""

    received_s: float | None = None
    done_s: float | None = None
    failed_s: float | None = None
    #: The mean time of a handler, in milliseconds.
    handling_ms: float | None = None


def rates(before: WorkersView | None, now: WorkersView) -> dict[str, Rates]:
    """The rates of each queue since an earlier view.

    They are made from counts that run on, so readers do not disturb each other.
    """
    earlier = {} if before is None else {queue.name: queue for queue in summaries(before)}
    found = {}
    for queue in summaries(now):
        past = earlier.get(queue.name)
        duration_s = 0.0 if before is None else (now.at_ms - before.at_ms) / 1000
        if past is None or duration_s <= 0:
            found[queue.name] = Rates()
            continue
        handled = queue.handled - past.handled
        found[queue.name] = Rates(
            received_s=(queue.ledger.received - past.ledger.received) / duration_s,
            done_s=(queue.ledger.acked - past.ledger.acked) / duration_s,
            failed_s=(queue.failures - past.failures) / duration_s,
            handling_ms=(queue.handling_ms - past.handling_ms) / handled if handled > 0 else None,
        )
    return found


def pooled(pools: list[PoolSnapshot]) -> PoolSnapshot:
    """The pools of several processes as one."""
    return PoolSnapshot(
        target=sum(pool.target for pool in pools),
        busy=sum(pool.busy for pool in pools),
        least=sum(pool.least for pool in pools),
        most=sum(pool.most for pool in pools),
    )


class Made(Struct, frozen=True):
    """A decision, and the number of the process that made it."""

    process: int
    decision: Decision


def decisions(view: WorkersView) -> Iterator[Made]:
    """The latest decisions of all processes."""
    for process in view.processes:
        if process.snapshot is not None:
            for decision in process.snapshot.decisions:
                yield Made(process.number, decision)


class Point(Struct, kw_only=True):
    """All processes at one moment, as far as a plot shows them."""

    at_ms: int
    visible: dict[str, int]
    in_hand: dict[str, int]
    age_s: dict[str, float]
    pollers: PoolSnapshot
    processors: PoolSnapshot
    #: Messages that wait for a handler, by class.
    buffered: dict[int, int]
    done: int


class Recording:
    """Points and decisions in the order of time. An outage is a gap between points."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.decisions: list[Made] = []
        self._seen: set[tuple[int, int, str]] = set()

    def add(self, view: WorkersView) -> list[Made]:
        """Take a view, and return the decisions that are new in it.

        One that shows no worker, as before the first start, is passed over.
        """
        workers = view.snapshots()
        new = []
        for made in decisions(view):
            key = (made.process, made.decision.at_ms, made.decision.pool)
            if key not in self._seen:
                self._seen.add(key)
                new.append(made)
        self.decisions += new
        if workers:
            self.points.append(_point(view, workers))
        return new


def _point(view: WorkersView, workers: list[WorkerSnapshot]) -> Point:
    queues = summaries(view)
    buffered: dict[int, int] = {}
    for worker in workers:
        for buffer in worker.buffers:
            buffered[buffer.priority] = buffered.get(buffer.priority, 0) + buffer.size
    return Point(
        at_ms=view.at_ms,
        visible={queue.name: queue.visible for queue in queues if queue.visible is not None},
        in_hand={queue.name: queue.ledger.in_hand for queue in queues},
        age_s={queue.name: queue.age_s for queue in queues},
        pollers=pooled([worker.pollers for worker in workers]),
        processors=pooled([worker.processors for worker in workers]),
        buffered=buffered,
        done=sum(ledger_of(worker).acked for worker in workers),
    )
