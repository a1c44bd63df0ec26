"""The bounded buffer between the threads that send and the loop that flushes, with its account."""

from __future__ import annotations

from threading import Condition, RLock
from time import monotonic
from typing import Generic, TypeVar

from msgspec import Struct

from forebay.producer.ledger import DropReason, Lost, ProducerLedger

T = TypeVar("T")


class Incoming(Generic[T]):
    """What threads have handed over and the loop has not taken, in order."""

    __slots__ = ("items", "wake_at")

    def __init__(self, wake_at: int) -> None:
        self.items: list[T] = []
        #: With so many items there is something to send, and the loop should be asked for it.
        self.wake_at = wake_at


class SpillState(Struct, frozen=True):
    """What the spill says of itself, in envelopes."""

    spilled: int = 0
    corrupt: int = 0
    dropped: int = 0


class Buffer:
    """Accepted envelopes, and the account of all that were offered. Safe to use from any thread.

    An envelope stays counted as buffered from `offer` to `settle`, also after `take` handed it
    over. Only `offer_within` waits: the lock is held for a few assignments and no more.
    """

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        # A signal handler or a finalizer that sends may run while its own thread holds the lock.
        self._lock = RLock()
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._freed = Condition(self._lock)
        self._waiting = 0
        #: What may be buffered beyond what is; below nothing when the capacity has shrunk.
        self._room = self._limit = capacity
        self._room_bytes = self._limit_bytes = capacity_bytes
        self._closed = False
        self._delivered = 0
        self._failed = 0
        self._dropped = dict.fromkeys(DropReason, 0)
        self._spill = SpillState()
        self._losses: dict[str, Lost] = {}

    def offer(self, incoming: Incoming[T], item: T, size_bytes: int) -> bool:
        """Accept an item of one envelope, if there is room."""
        # This is `with self._lock`, which takes twice as long.
        try:
            self._acquire()
            if self._room > 0 and size_bytes <= self._room_bytes:
                self._room -= 1
                self._room_bytes -= size_bytes
                incoming.items.append(item)
                return True
            return False
        finally:
            self._release()

    def offer_within(
        self, incoming: Incoming[T], item: T, size_bytes: int, timeout_s: float
    ) -> bool:
        """As `offer`, and wait for room as long as that."""
        deadline_s = monotonic() + timeout_s
        with self._freed:
            self._waiting += 1
            try:
                while self._room <= 0 or size_bytes > self._room_bytes:
                    left_s = deadline_s - monotonic()
                    if self._closed or left_s <= 0 or not self._freed.wait(left_s):
                        return False
            finally:
                self._waiting -= 1
            self._room -= 1
            self._room_bytes -= size_bytes
            incoming.items.append(item)
            return True

    def refuse(self, reason: DropReason, at_ms: int, error: str = "") -> DropReason:
        """Count an envelope that is not accepted, and return why: a closed buffer is not full."""
        with self._lock:
            if self._closed and reason in (DropReason.FULL, DropReason.BLOCKED):
                reason = DropReason.CLOSED
            self._drop(reason, 1, at_ms, at_ms, error)
        return reason

    def resize(self, capacity: int, capacity_bytes: int) -> None:
        """Change how much may be buffered. What was accepted stays, even when it is more."""
        with self._lock:
            if self._closed:
                return
            self._room += capacity - self._limit
            self._room_bytes += capacity_bytes - self._limit_bytes
            self._limit, self._limit_bytes = capacity, capacity_bytes
            self._freed.notify_all()

    def take(self, incoming: Incoming[T], most: int | None = None) -> list[T]:
        """Hand over the items that came in since the last time, in order, or the first of them."""
        if not incoming.items:
            return []
        with self._lock:
            if most is None or most >= len(incoming.items):
                taken, incoming.items = incoming.items, []
            else:
                taken = incoming.items[:most]
                del incoming.items[:most]
        return taken

    def put_back(self, incoming: Incoming[T], items: list[T]) -> None:
        """Items that were taken come before those that came in since."""
        with self._lock:
            incoming.items[:0] = items

    def shrink(self, size_bytes: int) -> None:
        """Envelopes that are buffered have become so much smaller: they were packed."""
        with self._lock:
            self._room_bytes += size_bytes

    def settle(self, size_bytes: int, *, delivered: int = 0, failed: int = 0) -> None:
        """Count buffered envelopes as delivered or failed."""
        with self._lock:
            self._free(delivered + failed, size_bytes)
            self._delivered += delivered
            self._failed += failed

    def to_spill(self, events: int, size_bytes: int, spill: SpillState) -> None:
        """Buffered envelopes were handed to the spill, which is now in this state."""
        with self._lock:
            self._free(events, size_bytes)
            self._spill = spill

    def from_spill(self, spill: SpillState, *, delivered: int = 0, failed: int = 0) -> None:
        """Spilled envelopes were settled, which left the spill in this state."""
        with self._lock:
            self._spill = spill
            self._delivered += delivered
            self._failed += failed

    def drop_buffered(
        self,
        reason: DropReason,
        events: int,
        size_bytes: int,
        range_ms: tuple[int, int],
        error: str,
    ) -> None:
        """Give up buffered envelopes."""
        with self._lock:
            self._free(events, size_bytes)
            self._drop(reason, events, *range_ms, error)

    def lose(self, lost: Lost) -> None:
        """Tell of a loss that is counted elsewhere."""
        with self._lock:
            self._lose(lost)

    def losses(self) -> list[Lost]:
        """What was lost since the last time, by reason."""
        if not self._losses:
            return []
        with self._lock:
            losses, self._losses = self._losses, {}
        return list(losses.values())

    def restore(self, delivered: int, failed: int, dropped: dict[str, int]) -> None:
        """Begin with the account of an earlier producer of the same spill directory."""
        with self._lock:
            self._delivered += delivered
            self._failed += failed
            for name, count in dropped.items():
                self._dropped[DropReason(name)] += count

    def close(self) -> None:
        """Accept nothing more."""
        with self._lock:
            self._closed = True
            self._room -= self._limit
            self._limit = 0
            self._freed.notify_all()

    def abandon(self) -> int:
        """Count everything that is still buffered as failed; return how much that was."""
        with self._lock:
            left = self._limit - self._room
            self._room = self._limit
            self._failed += left
        return left

    @property
    def buffered(self) -> int:
        """How many envelopes are accepted and not settled."""
        return self._limit - self._room

    def ledger(self) -> ProducerLedger:
        """The account at this instant.

        What was offered is not counted apart, so that the account cannot disagree with itself.
        """
        with self._lock:
            dropped = {reason.value: count for reason, count in self._dropped.items()}
            dropped[DropReason.SPILL_FULL.value] += self._spill.dropped
            buffered = self._limit - self._room
            spilled, corrupt = self._spill.spilled, self._spill.corrupt
            return ProducerLedger(
                offered=self._delivered
                + sum(dropped.values())
                + self._failed
                + corrupt
                + buffered
                + spilled,
                delivered=self._delivered,
                dropped=dropped,
                failed=self._failed,
                corrupt=corrupt,
                buffered=buffered,
                spilled=spilled,
            )

    def _free(self, events: int, size_bytes: int) -> None:
        self._room += events
        self._room_bytes += size_bytes
        if self._waiting:
            self._freed.notify_all()

    def _drop(
        self, reason: DropReason, events: int, first_ms: int, last_ms: int, error: str
    ) -> None:
        self._dropped[reason] += events
        self._lose(
            Lost(reason=reason, events=events, first_ms=first_ms, last_ms=last_ms, error=error)
        )

    def _lose(self, lost: Lost) -> None:
        known = self._losses.get(lost.reason)
        if known is not None:
            lost = Lost(
                reason=lost.reason,
                events=known.events + lost.events,
                first_ms=min(known.first_ms, lost.first_ms),
                last_ms=max(known.last_ms, lost.last_ms),
                error=lost.error or known.error,
            )
        self._losses[lost.reason] = lost
