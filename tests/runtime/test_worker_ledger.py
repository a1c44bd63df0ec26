"""The ledger balances whatever happens to the messages, in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay.worker.lease import ENDINGS, TRANSITIONS, Event, State
from forebay.worker.ledger import WorkerLedger
from tests.runtime.worker_messages import message, source


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(Event)), max_size=80))
def test_every_message_is_in_exactly_one_place(steps: list[tuple[int, Event]]) -> None:
    queue = source()
    leases = queue.take_in([message(str(number)) for number in range(10)], 0)
    for number, event in steps:
        if (leases[number].state, event) in TRANSITIONS:
            leases[number].step(event)
        ended = [lease.state for lease in leases if lease.has_ended]
        assert queue.ledger.balances
        assert queue.ledger.received == 10
        assert queue.ledger.in_hand == queue.in_hand == 10 - len(ended)
        for state in ENDINGS:
            assert getattr(queue.ledger, state.name.lower()) == ended.count(state)


def test_what_is_still_in_hand_at_the_end_is_lost() -> None:
    queue = source()
    done, waiting = queue.take_in([message("done"), message("waiting")], 0)
    for event in (Event.STARTED, Event.DONE, Event.CONFIRMED):
        done.step(event)
    assert queue.lose_all() == 1
    assert waiting.state is State.LOST
    assert queue.ledger == WorkerLedger(received=2, acked=1, lost=1)


def test_ledgers_add_up() -> None:
    one = WorkerLedger(received=5, acked=1, rejected=1, retried=1, released=1, lost=1)
    other = WorkerLedger(received=3, acked=2, in_hand=1)
    assert sum([one, other], WorkerLedger()) == WorkerLedger(
        received=8, acked=3, rejected=1, retried=1, released=1, lost=1, in_hand=1
    )


def test_a_ledger_that_does_not_add_up_says_so() -> None:
    assert not WorkerLedger(received=2, acked=1).balances
