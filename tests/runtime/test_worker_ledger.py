"""The ledger balances whatever is written into it, in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay.worker.ledger import Ending, LedgerBook, WorkerLedger
from tests.runtime.worker_messages import lease


@given(
    st.lists(st.tuples(st.integers(0, 9), st.none() | st.sampled_from(list(Ending))), max_size=60)
)
def test_every_message_is_in_exactly_one_place(steps: list[tuple[int, Ending | None]]) -> None:
    book = LedgerBook()
    leases = [lease(str(number)) for number in range(10)]
    first_endings: dict[int, Ending] = {}
    received: set[int] = set()
    for number, ending in steps:
        if ending is not None:
            book.end(leases[number], ending)
            if number in received:
                first_endings.setdefault(number, ending)
        elif number not in received:
            received.add(number)
            book.receive(leases[number])
        ledger = book.ledger()
        assert ledger.balances
        assert ledger.received == len(received)
        assert ledger.in_hand == book.in_hand == len(received) - len(first_endings)
        for each in Ending:
            assert getattr(ledger, each.value) == list(first_endings.values()).count(each)


def test_what_is_still_in_hand_at_the_end_is_lost() -> None:
    book = LedgerBook()
    done, open_end = lease("done"), lease("open")
    book.receive(done)
    book.receive(open_end)
    book.end(done, Ending.ACKED)
    assert book.lose_all() == 1
    book.end(open_end, Ending.ACKED)
    assert book.ledger() == WorkerLedger(received=2, acked=1, lost=1)


def test_a_ledger_that_does_not_add_up_says_so() -> None:
    assert not WorkerLedger(received=2, acked=1).balances
