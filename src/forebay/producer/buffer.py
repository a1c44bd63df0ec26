"""The bounded buffer between the threads that send and the loop that flushes, with its account."""

from __future__ import annotations

from threading import Condition, RLock
from time import monotonic
from typing import Any, Generic, TypeVar, cast

from msgspec import Struct

from forebay.producer.ledger import DropReason, Lost, ProducerLedger

T = TypeVar("T")

#: A record of at most so many bytes needs no lock where room is granted, since each that is granted
#: is so large. Usage logs have 130.
SMALL_BYTES = 512

#: Room is granted in parts of the capacity: a grant takes the lock.
_GRANTS = 16


class Incoming(Generic[T]):
    """What threads have handed over and the loop has not taken, in order. Made by a Buffer."""

    __slots__ = ("ahead", "calm", "granted", "items", "large_bytes", "wake_at")

    def __init__(self, wake_at: int, *, ahead: bool) -> None:
        self.items: list[T] = []
        #: Room is granted in advance.
        self.ahead = ahead
        #: With so many items there is something to send, and the loop should be asked for it.
        self.wake_at = wake_at
        #: Below so many items a thread may append one of SMALL_BYTES at most without the lock.
        self.calm = 0
        #: The room that is set aside for items, those that are there included.
        self.granted = 0
        #: What items have beyond SMALL_BYTES each.
        self.large_bytes = 0


class SpillState(Struct, frozen=True):
    """What the spill says of itself, in envelopes."""

    spilled: int = 0
    corrupt: int = 0
    dropped: int = 0
    #: All that ever were appended and acknowledged.
    appended: int = 0
    acknowledged: int = 0


class Buffer:
    """Accepted envelopes, and the account of all that were offered. Safe to use from any thread.

    An envelope stays counted as buffered from its offer to `settle`, also after `take` handed it
    over. Only `offer_within` waits: the lock is held for a few assignments and no more.

    Records are offered a million times a second, so room for them is granted in advance: while
    fewer than `calm` wait, a thread appends one to `items` and needs no lock, since an append is
    whole. Threads that do so at the same instant may pass the bound by one each.
    """

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        # A signal handler or a finalizer that sends may run while its own thread holds the lock.
        self._lock = RLock()
        self._freed = Condition(self._lock)
        self._waiting = 0
        #: What may be buffered or granted yet; below nothing when the capacity has shrunk.
        self._room = self._limit = capacity
        self._room_bytes = self._limit_bytes = capacity_bytes
        self._incoming: list[Incoming[Any]] = []
        #: Envelopes that were taken and are not settled.
        self._taken = 0
        #: Nothing can be admitted until something is freed. Read without the lock.
        self.full = False
        self._closed = False
        self._abandoned = False
        self._delivered = 0
        self._failed = 0
        self._dropped = dict.fromkeys(DropReason, 0)
        self._spill = SpillState()
        self._losses: dict[str, Lost] = {}

    def incoming_records(self, wake_at: int) -> Incoming[bytes]:
        """A place for records, with room granted in advance."""
        incoming: Incoming[bytes] = Incoming(wake_at, ahead=True)
        self._incoming.append(incoming)
        return incoming

    def incoming_singles(self, wake_at: int) -> Incoming[Any]:
        """A place for items of any kind, each offered with its size."""
        incoming: Incoming[Any] = Incoming(wake_at, ahead=False)
        self._incoming.append(incoming)
        return incoming

    def offer(self, incoming: Incoming[T], item: T, size_bytes: int) -> bool:
        """Accept an item of one envelope, if there is room."""
        if self.full:
            return False
        with self._lock:
            if not self._admit(incoming, size_bytes):
                return False
            incoming.items.append(item)
            return True

    def offer_within(
        self, incoming: Incoming[T], item: T, size_bytes: int, timeout_s: float
    ) -> bool:
        """As `offer`, and wait for room as long as that."""
        deadline_s = monotonic() + timeout_s
        with self._freed:
            self._waiting += 1
            try:
                while not self._admit(incoming, size_bytes):
                    left_s = deadline_s - monotonic()
                    if self._closed or left_s <= 0 or not self._freed.wait(left_s):
                        return False
            finally:
                self._waiting -= 1
            incoming.items.append(item)
            return True

    def _admit(self, incoming: Incoming[Any], size_bytes: int) -> bool:
        """Find room for one item, and for more records to come."""
        if self._closed or self.full:
            return False
        ahead = incoming.ahead
        large_bytes = max(0, size_bytes - SMALL_BYTES) if ahead else 0
        if len(incoming.items) >= incoming.granted:
            if self._room <= 0 or size_bytes > self._room_bytes:
                self._reclaim()
                self.full = self._room <= 0
            if self._room <= 0 or size_bytes > self._room_bytes:
                return False
            if ahead:
                most = (self._room_bytes - large_bytes) // SMALL_BYTES
                grant = max(1, min(self._room, most, self._limit // _GRANTS))
                self._room_bytes -= grant * SMALL_BYTES
            else:
                grant = 1
                self._room_bytes -= size_bytes
            self._room -= grant
            incoming.granted += grant
        elif large_bytes > self._room_bytes:
            return False
        if ahead:
            incoming.large_bytes += large_bytes
            self._room_bytes -= large_bytes
            incoming.calm = min(incoming.granted, incoming.wake_at)
        return True

    def _reclaim(self) -> None:
        """Take back what is granted and not used."""
        for incoming in self._incoming:
            if not incoming.ahead:
                continue
            unused = max(0, incoming.granted - len(incoming.items))
            incoming.granted -= unused
            incoming.calm = 0
            self._room += unused
            self._room_bytes += unused * SMALL_BYTES

    def refuse(self, reason: DropReason, at_ms: int, error: str = "") -> DropReason:
        """Count an envelope that is not accepted, and return why: a closed buffer is not full."""
        with self._lock:
            if self._closed and (reason is DropReason.FULL or reason is DropReason.BLOCKED):
                reason = DropReason.CLOSED
            self._drop(reason, 1, at_ms, at_ms, error)
        return reason

    def resize(self, capacity: int, capacity_bytes: int) -> None:
        """Change how much may be buffered. What was accepted stays, even when it is more."""
        with self._lock:
            if self._closed:
                return
            self._reclaim()
            self._room += capacity - self._limit
            self._room_bytes += capacity_bytes - self._limit_bytes
            self._limit, self._limit_bytes = capacity, capacity_bytes
            self.full = False
            self._freed.notify_all()

    def take(self, incoming: Incoming[T], most: int | None = None) -> list[T]:
        """Hand over the items that came in since the last time, in order, or the first of them."""
        if not incoming.items:
            return []
        with self._lock:
            # The list stays the same: a thread may be about to append to it.
            taken = incoming.items[:most]
            del incoming.items[: len(taken)]
            self._taken += len(taken)
            incoming.granted -= len(taken)
            incoming.calm = min(incoming.granted, incoming.wake_at)
            if incoming.ahead:
                records = cast("list[bytes]", taken)
                # Without large ones among them they need not be looked at one by one.
                large_bytes = _large_bytes(records) if incoming.large_bytes else 0
                incoming.large_bytes -= large_bytes
                self._room_bytes += _unused_bytes(records, large_bytes)
        return taken

    def put_back(self, incoming: Incoming[bytes], records: list[bytes]) -> None:
        """Records that were taken come before those that came in since."""
        with self._lock:
            incoming.items[:0] = records
            self._taken -= len(records)
            incoming.granted += len(records)
            large_bytes = _large_bytes(records)
            incoming.large_bytes += large_bytes
            self._room_bytes -= _unused_bytes(records, large_bytes)

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
            known = self._losses.setdefault(lost.reason, lost)
            if known is not lost:
                known.add(lost.events, lost.first_ms, lost.last_ms, lost.error)

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
            self._reclaim()
            self._room -= self._limit
            self._limit = 0
            self._freed.notify_all()

    def abandon(self) -> int:
        """Count everything that is still buffered as failed; return how much that was.

        So is what a thread appends that was about to while the buffer was closed.
        """
        with self._lock:
            left = self._taken
            for incoming in self._incoming:
                left += len(incoming.items)
                incoming.items.clear()
            self._failed += left
            self._taken = 0
            self._abandoned = True
        return left

    @property
    def buffered(self) -> int:
        """How many envelopes are accepted and not settled."""
        return self._taken + sum(len(each.items) for each in self._incoming)

    def ledger(self) -> ProducerLedger:
        """The account at this instant.

        What was offered is not counted apart, so that the account cannot disagree with itself.
        """
        with self._lock:
            dropped = {reason.value: count for reason, count in self._dropped.items()}
            dropped[DropReason.SPILL_FULL.value] += self._spill.dropped
            buffered, failed = self.buffered, self._failed
            if self._abandoned:
                buffered, failed = 0, failed + buffered
            spilled, corrupt = self._spill.spilled, self._spill.corrupt
            return ProducerLedger(
                offered=self._delivered
                + sum(dropped.values())
                + failed
                + corrupt
                + buffered
                + spilled,
                delivered=self._delivered,
                dropped=dropped,
                failed=failed,
                corrupt=corrupt,
                buffered=buffered,
                spilled=spilled,
            )

    def ledger_and_spill(self) -> tuple[ProducerLedger, SpillState]:
        """The account with the spill's own, both of the same instant."""
        with self._lock:
            return self.ledger(), self._spill

    def _free(self, events: int, size_bytes: int) -> None:
        self._taken -= events
        self._room += events
        self._room_bytes += size_bytes
        self.full = False
        if self._waiting:
            self._freed.notify_all()

    def _drop(
        self, reason: DropReason, events: int, first_ms: int, last_ms: int, error: str
    ) -> None:
        self._dropped[reason] += events
        known = self._losses.get(reason)
        # While the buffer is full this is done for every call of `send`: nothing new is made.
        if known is None:
            self._losses[reason] = Lost(
                reason=reason, events=events, first_ms=first_ms, last_ms=last_ms, error=error
            )
        else:
            known.add(events, first_ms, last_ms, error)


def _large_bytes(records: list[bytes]) -> int:
    """What records have beyond SMALL_BYTES each."""
    return sum(max(0, len(record) - SMALL_BYTES) for record in records)


def _unused_bytes(records: list[bytes], large_bytes: int) -> int:
    """How much less records have than was set aside for them."""
    return len(records) * SMALL_BYTES + large_bytes - sum(map(len, records))
