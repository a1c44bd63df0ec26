"""What a scaling policy sees and what it answers. Pure: a policy remembers nothing."""

from __future__ import annotations

from math import isfinite
from typing import Protocol

from msgspec import Struct


class Pool(Struct, frozen=True, kw_only=True):
    """Pollers or processors at this moment."""

    target: int
    #: How many are at work.
    busy: int
    least: int
    most: int
    #: Time since the target last rose and last fell, in seconds; None when it never did.
    since_up_s: float | None = None
    since_down_s: float | None = None

    @property
    def utilisation(self) -> float:
        """The part that is at work; 0 for an empty pool."""
        return self.busy / self.target if self.target > 0 else 0.0


class Load(Struct, frozen=True, kw_only=True):
    """What a worker's queues and buffer look like, as far as it is known."""

    #: Sizes and capacities of the buffer's channels, the highest class first.
    buffered: tuple[int, int, int]
    capacity: tuple[int, int, int]
    #: Messages that wait in all served queues, and that are received and not deleted, by this and
    #: all other workers. None when nobody has told. An empty receive makes the first 0 for its
    #: queue at once: an attribute that was read before it is stale.
    visible: int | None = None
    in_flight: int | None = None
    #: The usual time of a handler; None before the first has ended.
    handling_ms: float | None = None
    #: Messages that come into the queues: those received here and what `visible` grew by. None when
    #: that is not known, and then what is received counts as what comes in.
    arrival_per_s: float | None = None
    received_per_s: float = 0.0
    completed_per_s: float = 0.0
    #: How long ago the oldest message that waits, or came in lately for the first time, was sent.
    oldest_age_s: float = 0.0
    #: The usual time of a receive that found messages waiting, without the wait of a long poll for
    #: the first one; None before there was one.
    receive_ms: float | None = None
    #: How many messages such a receive brings; None before there was one.
    messages_per_receive: float | None = None
    #: Most messages of one receive.
    batch: int = 10
    #: Time between two decisions, in seconds.
    interval_s: float = 1.0

    @property
    def buffer_usage(self) -> float:
        """The part of the whole buffer that is taken. Messages over places, both counted."""
        return _part(sum(self.buffered), sum(self.capacity))

    @property
    def channel_usages(self) -> tuple[float, ...]:
        """The part of each channel that is taken, the highest class first."""
        return tuple(
            _part(size, capacity)
            for size, capacity in zip(self.buffered, self.capacity, strict=True)
        )

    @property
    def buffer_room(self) -> int:
        """Places of the buffer that are free."""
        return sum(
            max(0, capacity - size)
            for size, capacity in zip(self.buffered, self.capacity, strict=True)
        )


class ScalingInput(Struct, frozen=True, kw_only=True):
    """Everything that a decision about a pool is made from."""

    pollers: Pool
    processors: Pool
    load: Load


class Target(Struct, frozen=True):
    """What a pool's target shall be, and why, in words for whoever watches."""

    after: int
    reason: str


class ScalingPolicy(Protocol):
    """How many pollers and processors there shall be.

    Never raises and never leaves a pool's bounds, whatever the numbers are.
    """

    def pollers(self, seen: ScalingInput) -> Target: ...

    def processors(self, seen: ScalingInput) -> Target: ...

    def poll_pause_ms(self, load: Load) -> int:
        """How long a poller waits before its next receive, beside waiting for room."""
        ...


class Steps(Struct, frozen=True, kw_only=True):
    """How far a target moves at a time, and how long it rests before it moves again."""

    up: int
    down: int
    #: Time from one step up to the next, in seconds.
    cooldown_up_s: float = 0.0
    #: Time from a step of either direction to a step down, in seconds: what has just grown does not
    #: shrink at once.
    cooldown_down_s: float = 0.0


def stepped(pool: Pool, wanted: float, reason: str, steps: Steps) -> Target:
    """The target on its way from where it is to what is wanted."""
    before = min(max(pool.target, pool.least), pool.most)
    goal = min(max(wanted, pool.least), pool.most)
    if goal > before:
        if _since(pool.since_up_s) < steps.cooldown_up_s:
            return Target(before, f"{reason}; it has just grown")
        return Target(int(min(goal, before + steps.up)), reason)
    if goal < before:
        if min(_since(pool.since_up_s), _since(pool.since_down_s)) < steps.cooldown_down_s:
            return Target(before, f"{reason}; it has just changed")
        return Target(int(max(goal, before - steps.down)), reason)
    return Target(before, reason)


def known(value: float | None) -> float | None:
    """A number that can be reckoned with; None for one that is not, or is not at least 0."""
    return value if value is not None and isfinite(value) and value >= 0 else None


def _since(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds


def _part(size: int, capacity: int) -> float:
    return size / capacity if capacity > 0 else 0.0
