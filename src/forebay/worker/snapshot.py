"""What a worker shows of itself: plain values that can be copied, sent and drawn."""

from __future__ import annotations

from msgspec import Struct

from forebay.worker.ledger import WorkerLedger

#: Upper bounds of the wait and duration histograms, in milliseconds; beyond the last is the rest.
#: The first five are those of document 002.
HISTOGRAM_BOUNDS_MS = (100, 500, 1_000, 5_000, 10_000, 30_000, 60_000)


class Histogram(Struct):
    """How many values lay at most at each of HISTOGRAM_BOUNDS_MS and above the one before it."""

    #: One count for each bound, and one for what is above them all.
    counts: list[int] = []
    sum_ms: float = 0.0
    max_ms: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(HISTOGRAM_BOUNDS_MS) + 1)

    def add(self, value_ms: float) -> None:
        for index, bound_ms in enumerate(HISTOGRAM_BOUNDS_MS):
            if value_ms <= bound_ms:
                self.counts[index] += 1
                break
        else:
            self.counts[-1] += 1
        self.sum_ms += value_ms
        self.max_ms = max(self.max_ms, value_ms)


class QueueSnapshot(Struct, kw_only=True):
    """One queue as the worker knows it."""

    name: str
    priority: int
    #: As GetQueueAttributes said last; None before the first answer.
    visible: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    #: How long ago it said so.
    counted_ago_s: float | None = None
    #: Receives in flight, and how long one waits for a message.
    polls: int = 0
    wait_s: float = 0.0
    #: For how long no receive has been answered, with messages or without: since the latest answer,
    #: or since one was sent after a time in which none was in flight. None before the first.
    answered_ago_s: float | None = None
    #: Receives so far, those that brought nothing, and those that failed.
    receives: int = 0
    empty_receives: int = 0
    failed_receives: int = 0
    #: The latest receive's failure in words; empty once one has worked again.
    trouble: str = ""
    #: Age of the oldest message that came in lately for the first time, in seconds since it was
    #: sent. 0 when nothing came.
    age_s: float = 0.0
    ledger: WorkerLedger = WorkerLedger()
    #: Handlers that raised something else than Retry or Reject, or were over their time.
    failures: int = 0
    #: From the take of a handler to its end.
    handling: Histogram


class BufferSnapshot(Struct, kw_only=True):
    """One channel of the priority buffer."""

    priority: int
    size: int
    capacity: int
    #: Messages so far: in, out, and pushes that found it full.
    came_in: int = 0
    went_out: int = 0
    refused: int = 0
    #: From coming in to going out.
    wait: Histogram


class PoolSnapshot(Struct, kw_only=True):
    """Pollers or processors: how many there may be, and how many are at work."""

    target: int
    busy: int
    least: int
    most: int


class Decision(Struct, kw_only=True):
    """A decision about the size of a pool, with what it was made from."""

    #: Milliseconds since the Unix epoch.
    at_ms: int
    #: `pollers` or `processors`.
    pool: str
    before: int
    after: int
    reason: str
    inputs: dict[str, float]


class Count(Struct, frozen=True):
    """What handlers count of their own work, for the metrics beside the worker's."""

    #: As Prometheus wants it, without a prefix and `_total`: `usage_rows`.
    name: str
    #: What is counted, in a few words.
    text: str
    #: It only ever rises.
    value: int
    #: The same names in all counts of one name.
    labels: dict[str, str] = {}


class WorkerSnapshot(Struct, kw_only=True):
    """A worker at one moment. Counts run from its start."""

    at_ms: int
    process_id: int
    #: `starting`, `working`, `draining` or `stopped`.
    state: str
    queues: list[QueueSnapshot]
    buffers: list[BufferSnapshot]
    pollers: PoolSnapshot
    processors: PoolSnapshot
    #: The latest decisions, the newest last.
    decisions: list[Decision]
    #: Handlers that did not end in their time and go on, without a place.
    hanging: int = 0
    #: The longest time that the event loop was held up lately, in seconds.
    loop_blocked_s: float = 0.0
    #: Why polls are held back now, by the name of the permit; empty when none is.
    held_back: dict[str, str] = {}
    #: What its handlers count.
    counts: list[Count] = []
