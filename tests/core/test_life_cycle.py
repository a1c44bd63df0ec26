"""The life cycle of a message is the table, and nothing but the table."""

from __future__ import annotations

import itertools

import pytest

from forebay.broker.core.message import TRANSITIONS, Event, Message, State, transition
from forebay.errors import InvalidTransition

PAIRS = list(itertools.product(State, Event))


def message_in(state: State) -> Message:
    message = Message(
        sequence=1,
        message_id="00000000-0000-4000-8000-000000000000",
        body="body",
        body_md5="",
        enqueued_at_ms=0,
        available_at_ms=0,
        sent_at_ms=0,
        sender_id="",
    )
    message.state = state
    return message


@pytest.mark.parametrize(("state", "event"), [pair for pair in PAIRS if pair in TRANSITIONS])
def test_an_allowed_event_carries_the_message_on(state: State, event: Event) -> None:
    message = message_in(state)
    transition(message, event)
    assert message.state is TRANSITIONS[state, event]


@pytest.mark.parametrize(("state", "event"), [pair for pair in PAIRS if pair not in TRANSITIONS])
def test_any_other_event_raises_and_nothing_happens(state: State, event: Event) -> None:
    message = message_in(state)
    with pytest.raises(InvalidTransition, match=f"is {state.name} and got {event.name}"):
        transition(message, event)
    assert message.state is state


def test_nothing_leaves_the_state_gone() -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is State.GONE]


def test_every_state_but_the_first_can_be_reached() -> None:
    assert set(TRANSITIONS.values()) == set(State) - {State.DELAYED}
