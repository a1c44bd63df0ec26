"""The life of a lease: what may happen in which state, and nothing else."""

from __future__ import annotations

import itertools

import pytest

from forebay.errors import InvalidTransition
from forebay.worker.lease import ENDINGS, TRANSITIONS, Event, State
from tests.runtime.worker_messages import lease, message, source


@pytest.mark.parametrize(
    ("events", "ending"),
    [
        ("STARTED DONE CONFIRMED", State.ACKED),
        ("STARTED DONE GIVEN_UP", State.LOST),
        ("REFUSED COPIED CONFIRMED", State.REJECTED),
        ("STARTED REFUSED COPIED CONFIRMED", State.REJECTED),
        # Without a dead-letter queue, or when the copy cannot be made.
        ("STARTED REFUSED POSTPONED CONFIRMED", State.RETRIED),
        # The copy is there and the original cannot be deleted: it is delivered again.
        ("STARTED REFUSED COPIED GIVEN_UP", State.LOST),
        ("STARTED POSTPONED CONFIRMED", State.RETRIED),
        ("INTERRUPTED CONFIRMED", State.RELEASED),
        ("STARTED INTERRUPTED CONFIRMED", State.RELEASED),
        ("STARTED INTERRUPTED GIVEN_UP", State.LOST),
        # It goes on after its time, and ends while the lease lasts.
        ("STARTED OVERRAN DONE CONFIRMED", State.ACKED),
        ("STARTED OVERRAN POSTPONED CONFIRMED", State.RETRIED),
        ("STARTED OVERRAN GIVEN_UP", State.LOST),
    ],
)
def test_the_lives_that_there_are(events: str, ending: State) -> None:
    (taken,) = source().take_in([message()], 0)
    for event in events.split():
        assert not taken.has_ended
        taken.step(Event[event])
    assert taken.state is ending
    assert taken.source.ledger.balances
    assert getattr(taken.source.ledger, ending.name.lower()) == 1


@pytest.mark.parametrize(
    ("state", "event"),
    [pair for pair in itertools.product(State, Event) if pair not in TRANSITIONS],
)
def test_what_cannot_happen_raises_and_changes_nothing(state: State, event: Event) -> None:
    held = lease(state=state)
    with pytest.raises(InvalidTransition, match=f"{state.name} and got {event.name}"):
        held.step(event)
    assert held.state is state


def test_every_life_can_end_as_lost_and_nothing_follows_an_ending() -> None:
    going = [state for state in State if state not in ENDINGS]
    assert [TRANSITIONS[state, Event.GIVEN_UP] for state in going] == [State.LOST] * len(going)
    assert not [pair for pair in TRANSITIONS if pair[0] in ENDINGS]
