"""What can be set about a worker, with its defaults."""

from __future__ import annotations

import math

from msgspec import Struct
from msgspec.structs import replace

from forebay.errors import SettingsError
from forebay.number_settings import require_numbers
from forebay.protocol import limits
from forebay.worker.queue import HIGH, LOW, MEDIUM, Priority

#: Longest time that a setting in seconds takes unless SQS says less: a day.
_DAY_S = 86_400

#: What a setting may be: its least and its most value. None has no bound.
RANGES: dict[str, tuple[float, float]] = {
    "concurrency": (1, 100_000),
    "concurrency_min": (1, 100_000),
    "pollers": (1, 1_000),
    "pollers_min": (1, 1_000),
    "batch": (1, limits.BATCH_ENTRIES_MAX),
    "threads": (1, 10_000),
    "wait_s": (0, limits.WAIT_TIME_SECONDS_MAX),
    "visibility_timeout_s": (1, limits.VISIBILITY_TIMEOUT_SECONDS_MAX),
    "heartbeat_fraction": (0.1, 0.9),
    "heartbeat_max_s": (1, limits.VISIBILITY_TIMEOUT_SECONDS_MAX),
    "acknowledge_age_ms": (0, 1_000),
    "backoff_base_s": (0, limits.VISIBILITY_TIMEOUT_SECONDS_MAX),
    "backoff_max_s": (0, limits.VISIBILITY_TIMEOUT_SECONDS_MAX),
    "drain_timeout_s": (0, _DAY_S),
    "thread_timeout_s": (0, _DAY_S),
    "buffer_high": (1, 1_000_000),
    "buffer_medium": (1, 1_000_000),
    "buffer_low": (1, 1_000_000),
    "age_bound_s": (0, _DAY_S),
    "overtakes_max": (0, 1_000_000_000),
    "poll_share": (0, 0.3),
    "boost_step": (0, 10),
    "scale_interval_s": (0.1, 3_600),
    "attributes_interval_s": (0.1, 3_600),
}

#: What can be changed while a worker is at work.
ADJUSTABLE = (
    "concurrency",
    "concurrency_min",
    "pollers",
    "pollers_min",
    "buffer_high",
    "buffer_medium",
    "buffer_low",
)

#: What may not be above what.
ORDERED = (
    ("concurrency_min", "concurrency"),
    ("pollers_min", "pollers"),
    ("backoff_base_s", "backoff_max_s"),
)


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """How a worker takes messages, keeps them and gives them back.

    Raises SettingsError when a value is out of range.
    """

    #: Most handlers that run at the same time. A batch handler counts as one.
    concurrency: int = 64
    #: As many may run however little there is to do. None is four, or the most if that is less.
    concurrency_min: int | None = None
    #: Most receives in flight at the same time. Each queue has one waiting for messages in any
    #: case; the others go where messages are known to be.
    pollers: int = 16
    #: As many may be in flight however little there is to do.
    pollers_min: int = 1
    #: Most messages asked for in one receive.
    batch: int = limits.BATCH_ENTRIES_MAX
    #: Threads for handlers that are plain functions, where the worker is given no executor.
    threads: int = 32
    #: How long a receive waits for a message, in seconds. A drain awaits the receives in flight, so
    #: it lasts at least as long as what is left of this; 20 makes an idle queue cheapest.
    wait_s: int = 2
    #: How long a received message stays hidden unless the heartbeat extends it, in seconds. None
    #: takes each queue's own.
    visibility_timeout_s: int | None = None
    #: The part of the visibility timeout after which the heartbeat extends a message.
    heartbeat_fraction: float = 0.5
    #: Extensions grow with the time that a message has taken, up to this, in seconds.
    heartbeat_max_s: int = 600
    #: How long a finished message may wait for others to be deleted with it, in milliseconds.
    acknowledge_age_ms: int = 20
    #: A message that failed n times stays hidden for a time drawn from 0 to this times 2^(n-1), at
    #: most the maximum. In seconds; 0 makes it visible at once.
    backoff_base_s: float = 1.0
    backoff_max_s: float = 300.0
    #: How long a drain lets buffered and running messages finish, in seconds. Keep it a few seconds
    #: below the time that the process is given to stop.
    drain_timeout_s: float = 20.0
    #: How long a drain waits after that for plain functions, which nobody can stop, in seconds.
    thread_timeout_s: float = 30.0
    #: Most messages that wait for a handler, by the class of their queue. None is twice the
    #: concurrency.
    buffer_high: int | None = None
    buffer_medium: int | None = None
    buffer_low: int | None = None
    #: A message that has waited here for so long, in seconds, or that so many later ones have
    #: overtaken, comes before any younger one of any class.
    age_bound_s: float = 5.0
    overtakes_max: int = 1_000
    #: The part of the receives that each lower class of queues gets however much there is above it.
    poll_share: float = 0.1
    #: A queue's score rises with its wait for a receive, up to 1 + this times its class (1 to 3).
    #: 0.25 fits the examples of document 002, 0.5 is what its code does.
    boost_step: float = 0.25
    #: How often the numbers of pollers and processors are decided, in seconds.
    scale_interval_s: float = 1.0
    #: How often each queue is asked how many messages it has, in seconds.
    attributes_interval_s: float = 5.0

    @property
    def fewest_processors(self) -> int:
        """How many handlers may run at the same time however little there is to do."""
        return min(4, self.concurrency) if self.concurrency_min is None else self.concurrency_min

    def fixed(self) -> WorkerSettings:
        """These settings with the defaults in place of those that a worker can change at work."""
        defaults = WorkerSettings()
        return replace(self, **{name: getattr(defaults, name) for name in ADJUSTABLE})

    def buffer_capacity(self, priority: Priority) -> int:
        """How many messages of queues of this class may wait for a handler."""
        sizes = {HIGH: self.buffer_high, MEDIUM: self.buffer_medium, LOW: self.buffer_low}
        return sizes[priority] or 2 * self.concurrency

    def __post_init__(self) -> None:
        require_numbers(self)
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if not low <= value <= high or math.isnan(value):
                raise SettingsError(f"{name} is {value}; it must be from {low:,} to {high:,}.")
        for low_name, high_name in ORDERED:
            low_value, high_value = getattr(self, low_name), getattr(self, high_name)
            if low_value is not None and low_value > high_value:
                raise SettingsError(
                    f"{low_name} is {low_value:g}; it must be at most {high_name}, which is"
                    f" {high_value:g}."
                )
