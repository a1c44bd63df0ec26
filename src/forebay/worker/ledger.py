"""Where every received message went: exact, and zero-sum."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from forebay.worker.lease import ENDINGS, Event, Lease


class WorkerLedger(Struct, frozen=True, kw_only=True):
    """What a worker did with the messages it received, each counted in exactly one place.

    A message that is received twice counts twice. Ledgers add up.
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

    def __add__(self, other: WorkerLedger) -> WorkerLedger:
        return WorkerLedger(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


class LedgerBook:
    """Writes the ledger of one queue."""

    def __init__(self) -> None:
        self._received = 0
        self._ended = dict.fromkeys(ENDINGS, 0)
        self._in_hand: set[Lease] = set()

    @property
    def in_hand(self) -> int:
        return len(self._in_hand)

    def receive(self, leases: Sequence[Lease]) -> None:
        self._received += len(leases)
        self._in_hand.update(leases)

    def end(self, lease: Lease) -> None:
        """The lease has come to one of its endings, which a lease does once."""
        self._in_hand.remove(lease)
        self._ended[lease.state] += 1

    def lose_all(self) -> int:
        """Give up everything in hand. Returns how much that was."""
        leases = list(self._in_hand)
        for lease in leases:
            lease.step(Event.GIVEN_UP)
        return len(leases)

    def ledger(self) -> WorkerLedger:
        endings = {state.name.lower(): count for state, count in self._ended.items()}
        return WorkerLedger(received=self._received, in_hand=len(self._in_hand), **endings)
