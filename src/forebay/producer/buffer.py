"""The bounded buffer between the threads that send and the loop that flushes, with its account."""

from __future__ import annotations

from threading import Lock

from forebay.producer.entry import Entry
from forebay.producer.ledger import DropReason, ProducerLedger


class Buffer:
    """Accepted messages, and the account of all that were offered. Safe to use from any thread.

    A message stays counted as buffered from `offer` to `settle`, also after `take` handed it over.
    No method waits: the lock is only ever held for a few assignments.
    """

    def __init__(self, capacity: int) -> None:
        self._lock = Lock()
        self._incoming: list[Entry] = []
        #: How many may be buffered: the capacity, or none once the buffer is closed.
        self._limit = capacity
        self._closed = False
        self._buffered = 0
        self._sent = 0
        self._failed = 0
        self._dropped = dict.fromkeys(DropReason, 0)

    def offer(self, entry: Entry) -> DropReason | None:
        """Accept `entry` and return None, or drop it and return why."""
        with self._lock:
            if self._buffered < self._limit:
                self._buffered += 1
                self._incoming.append(entry)
                return None
            reason = DropReason.CLOSED if self._closed else DropReason.FULL
            self._dropped[reason] += 1
            return reason

    def refuse(self, reason: DropReason) -> None:
        """Count a message that was dropped before it could be offered."""
        with self._lock:
            self._dropped[reason] += 1

    def resize(self, capacity: int) -> None:
        """Change how many may be buffered. What was accepted stays, even when it is more."""
        with self._lock:
            if not self._closed:
                self._limit = capacity

    @property
    def incoming(self) -> int:
        """How many accepted messages have not been taken."""
        return len(self._incoming)

    def take(self) -> list[Entry]:
        """Hand over the messages that came in since the last time, in order."""
        with self._lock:
            taken, self._incoming = self._incoming, []
        return taken

    def settle(self, *, sent: int = 0, failed: int = 0) -> None:
        """Count buffered messages as sent or failed."""
        with self._lock:
            self._buffered -= sent + failed
            self._sent += sent
            self._failed += failed

    def close(self) -> None:
        """Accept nothing more."""
        with self._lock:
            self._closed = True
            self._limit = 0

    def abandon(self) -> None:
        """Count everything that is still buffered as failed."""
        with self._lock:
            self._incoming.clear()
            self._failed += self._buffered
            self._buffered = 0

    def ledger(self) -> ProducerLedger:
        """The account at this instant.

        What was offered is not counted apart, so that the account cannot disagree with itself.
        """
        with self._lock:
            dropped = {reason.value: count for reason, count in self._dropped.items()}
            return ProducerLedger(
                offered=self._sent + sum(dropped.values()) + self._failed + self._buffered,
                delivered=self._sent,
                dropped=dropped,
                failed=self._failed,
                buffered=self._buffered,
            )
