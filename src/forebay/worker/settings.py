"""What can be set about a worker, with its defaults."""

from __future__ import annotations

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.protocol import limits


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """How a worker takes messages, keeps them and gives them back.

    Raises SettingsError when a value is out of range.
    """

    #: Handlers that run at the same time.
    concurrency: int = 16
    #: Most messages asked for in one receive.
    batch: int = limits.BATCH_ENTRIES_MAX
    #: Most receives in flight at the same time. One is enough while the queue is empty, so that is
    #: what an empty queue gets.
    pollers: int = 4
    #: Messages to keep waiting beside those that run, so that no handler waits for a receive.
    prefetch: int = 16
    #: How long a receive waits for a message, in seconds. A drain awaits the receives in flight, so
    #: it lasts at least as long as what is left of this; 20 makes an idle queue cheapest.
    wait_s: int = 2
    #: How long a received message stays hidden unless the heartbeat extends it, in seconds.
    visibility_timeout_s: int = limits.VISIBILITY_TIMEOUT_SECONDS_DEFAULT
    #: The part of the visibility timeout after which the heartbeat extends a message.
    heartbeat_fraction: float = 0.5
    #: How long a finished message may wait for others to be deleted with it, in milliseconds.
    acknowledge_age_ms: int = 20
    #: A failed message stays hidden for about this long after its first receive, twice as long
    #: after its second and so on, up to the maximum. In seconds; 0 makes it visible at once.
    backoff_base_s: float = 1.0
    backoff_max_s: float = 300.0
    #: How long a drain lets buffered and running messages finish, in seconds. Keep it a few seconds
    #: below the time that the process is given to stop.
    drain_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        _in_range("concurrency", self.concurrency, 1)
        _in_range("batch", self.batch, 1, limits.BATCH_ENTRIES_MAX)
        _in_range("pollers", self.pollers, 1)
        _in_range("prefetch", self.prefetch, 0)
        _in_range("wait_s", self.wait_s, 0, limits.WAIT_TIME_SECONDS_MAX)
        _in_range(
            "visibility_timeout_s",
            self.visibility_timeout_s,
            1,
            limits.VISIBILITY_TIMEOUT_SECONDS_MAX,
        )
        _in_range("heartbeat_fraction", self.heartbeat_fraction, 0.1, 0.9)
        _in_range("acknowledge_age_ms", self.acknowledge_age_ms, 0, 1000)
        _in_range("backoff_base_s", self.backoff_base_s, 0)
        _in_range(
            "backoff_max_s",
            self.backoff_max_s,
            self.backoff_base_s,
            limits.VISIBILITY_TIMEOUT_SECONDS_MAX,
        )
        _in_range("drain_timeout_s", self.drain_timeout_s, 0)


def _in_range(name: str, value: float, low: float, high: float | None = None) -> None:
    if value < low or (high is not None and value > high):
        reach = f"at least {low}" if high is None else f"from {low} to {high}"
        raise SettingsError(f"{name} is {value}; it must be {reach}.")
