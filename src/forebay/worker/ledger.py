"""Where every received message went: exact, and zero-sum."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from forebay.worker.lease import Lease


class Ending(Enum):
    """How a received message ended here."""

    #: Handled and deleted.
    ACKED = "acked"
    #: Copied to the dead-letter queue and deleted.
    REJECTED = "rejected"
    #: Its handler failed or asked for it: visible again after a delay.
    RETRIED = "retried"
    #: Did not run to its end, for a drain or a failure before it in its group: visible again.
    RELEASED = "released"
    #: Left to its visibility timeout: the lease was lost, SQS could not be told, or its handler
    #: could not be stopped. It will be delivered again.
    LOST = "lost"


class WorkerLedger(Struct, frozen=True, kw_only=True):
    """What a worker did with the messages it received, each counted in exactly one place.

    A message that is received twice counts twice.
    """

    received: int = 0
    acked: int = 0
    rejected: int = 0
    retried: int = 0
    released: int = 0
    lost: int = 0
    #: Received, and its ending not yet confirmed by SQS. 0 once the worker has stopped.
    in_hand: int = 0

    @property
    def balances(self) -> bool:
        """Whether every received message is accounted for."""
        ended = self.acked + self.rejected + self.retried + self.released + self.lost
        return self.received == ended + self.in_hand


class LedgerBook:
    """Writes the ledger. A message is in hand until its first ending; later ones do not count."""

    def __init__(self) -> None:
        self._received = 0
        self._ended = dict.fromkeys(Ending, 0)
        self._in_hand: set[Lease] = set()

    @property
    def in_hand(self) -> int:
        return len(self._in_hand)

    def receive(self, lease: Lease) -> None:
        self._received += 1
        self._in_hand.add(lease)

    def end(self, lease: Lease, ending: Ending) -> None:
        if lease in self._in_hand:
            self._in_hand.remove(lease)
            self._ended[ending] += 1

    def lose_all(self) -> int:
        """End everything in hand as lost. Returns how many there were."""
        count = len(self._in_hand)
        self._in_hand.clear()
        self._ended[Ending.LOST] += count
        return count

    def ledger(self) -> WorkerLedger:
        endings = {ending.value: count for ending, count in self._ended.items()}
        return WorkerLedger(received=self._received, in_hand=len(self._in_hand), **endings)
