"""The processes of `forebay worker run`, as everybody sees them who looks from outside.

This is what `/snapshot` answers as JSON, and what health, metrics and `forebay worker watch` are
made from.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from forebay.producer.snapshot import ProducerSnapshot
from forebay.worker.ledger import WorkerLedger
from forebay.worker.snapshot import Count, Histogram, PoolSnapshot, QueueSnapshot, WorkerSnapshot


class ProcessState(StrEnum):
    """Where a process is in its life."""

    #: It runs, and its worker has not found its queues yet.
    STARTING = "starting"
    WORKING = "working"
    DRAINING = "draining"
    #: It has ended because it was told to.
    STOPPED = "stopped"
    #: It has ended though nobody told it to. Another one takes its number after a pause.
    DEAD = "dead"


class ProcessView(Struct, kw_only=True):
    """One of the processes."""

    #: From 1; a process that replaces a dead one has its number.
    number: int
    process_id: int | None = None
    state: ProcessState = ProcessState.STARTING
    #: How long it has run, and how long ago it was heard last; None before the first time.
    up_s: float = 0.0
    heard_ago_s: float | None = None
    #: How often one of this number has died, and how the latest did.
    deaths: int = 0
    died: str = ""
    #: What its worker said last, with the counts of those before it added.
    snapshot: WorkerSnapshot | None = None
    #: The producers of a process that runs, as it said last. Their counts begin with it.
    producers: list[ProducerSnapshot] = []


class WorkersView(Struct, kw_only=True):
    """All processes at one moment."""

    at_ms: int
    processes: list[ProcessView]

    def snapshots(self) -> list[WorkerSnapshot]:
        """What is known of the workers, in the order of their processes."""
        return [process.snapshot for process in self.processes if process.snapshot is not None]

    def queue_names(self) -> list[str]:
        """The queues of all workers, highest class first, as they name them."""
        queues = {queue.name: queue.priority for each in self.snapshots() for queue in each.queues}
        return sorted(queues, key=lambda name: (-queues[name], name))

    def newest(self, queue: str) -> QueueSnapshot | None:
        """What the worker that asked SQS last says of a queue; it may not know its depth."""
        told = [
            (one.visible is not None, snapshot.at_ms - (one.counted_ago_s or 0) * 1000, one)
            for snapshot in self.snapshots()
            for one in snapshot.queues
            if one.name == queue
        ]
        return max(told, key=lambda each: each[:2])[2] if told else None


def left_behind(snapshot: WorkerSnapshot) -> WorkerSnapshot:
    """The counts of a worker whose process is gone.

    What it had in hand is lost: it comes back after its visibility timeout.
    """
    return replace(
        snapshot,
        state="stopped",
        queues=[
            replace(
                queue,
                polls=0,
                answered_ago_s=None,
                trouble="",
                age_s=0.0,
                ledger=replace(
                    queue.ledger, in_hand=0, lost=queue.ledger.lost + queue.ledger.in_hand
                ),
            )
            for queue in snapshot.queues
        ],
        buffers=[replace(buffer, size=0) for buffer in snapshot.buffers],
        pollers=_empty(snapshot.pollers),
        processors=_empty(snapshot.processors),
        hanging=0,
        loop_blocked_s=0.0,
        held_back={},
    )


def _empty(pool: PoolSnapshot) -> PoolSnapshot:
    return replace(pool, target=0, busy=0)


def carried_on(past: WorkerSnapshot | None, now: WorkerSnapshot) -> WorkerSnapshot:
    """A snapshot whose counts go on from those of an earlier process.

    So nothing that was counted is forgotten when a process dies, and no count goes down.
    """
    if past is None:
        return now
    queues = {queue.name: queue for queue in past.queues}
    buffers = {buffer.priority: buffer for buffer in past.buffers}
    return replace(
        now,
        queues=[
            replace(
                queue,
                receives=queue.receives + before.receives,
                empty_receives=queue.empty_receives + before.empty_receives,
                failed_receives=queue.failed_receives + before.failed_receives,
                failures=queue.failures + before.failures,
                ledger=queue.ledger + before.ledger,
                handling=_merged(queue.handling, before.handling),
            )
            if (before := queues.get(queue.name)) is not None
            else queue
            for queue in now.queues
        ],
        buffers=[
            replace(
                buffer,
                came_in=buffer.came_in + earlier.came_in,
                went_out=buffer.went_out + earlier.went_out,
                refused=buffer.refused + earlier.refused,
                wait=_merged(buffer.wait, earlier.wait),
            )
            if (earlier := buffers.get(buffer.priority)) is not None
            else buffer
            for buffer in now.buffers
        ],
        counts=_summed([*past.counts, *now.counts]),
    )


def ledger_of(snapshot: WorkerSnapshot) -> WorkerLedger:
    """The ledger of a worker, over its queues."""
    return sum((queue.ledger for queue in snapshot.queues), WorkerLedger())


def _summed(counts: list[Count]) -> list[Count]:
    """One count for each name and its labels."""
    sums: dict[tuple[str, ...], Count] = {}
    for count in counts:
        key = (count.name, *(part for label in sorted(count.labels.items()) for part in label))
        before = sums.get(key)
        sums[key] = count if before is None else replace(count, value=before.value + count.value)
    return list(sums.values())


def _merged(one: Histogram, other: Histogram) -> Histogram:
    return Histogram(
        counts=[a + b for a, b in zip(one.counts, other.counts, strict=True)],
        sum_ms=one.sum_ms + other.sum_ms,
        max_ms=max(one.max_ms, other.max_ms),
    )
