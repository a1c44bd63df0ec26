"""In which order a standard queue serves its messages when some of them come back."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.broker.core.standard import PLACE_KEPT_RECEIVES
from forebay.broker.core.window import Window
from forebay.protocol.actions import Message
from tests.core.harness import JournaledSqs, Sqs


@pytest.fixture
def sqs() -> Sqs:
    sqs = Sqs()
    sqs.create("jobs", {"VisibilityTimeout": 30})
    return sqs


@pytest.mark.parametrize("window", [Window(), Window(messages=2, page_messages=1)])
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("given_back", [False, True])
def test_a_message_that_came_back_is_served_before_those_sent_after_it(
    window: Window, restarts: bool, given_back: bool
) -> None:
    sqs = JournaledSqs(window)
    sqs.create("jobs", {"VisibilityTimeout": 30})
    for body in "abcde":
        sqs.send("jobs", body)
    received = [*sqs.receive("jobs", 1), *sqs.receive("jobs", 1)]
    for message in reversed(received):
        if given_back:
            sqs.change_visibility("jobs", message, 0)
    sqs.wait(30)
    sqs.send("jobs", "f")
    if restarts:
        sqs.restart()
    bodies: list[str] = []
    while len(bodies) < 6:
        bodies += sqs.bodies("jobs", 1)
    assert bodies == ["a", "b", "c", "d", "e", "f"]


def test_a_message_received_to_be_looked_at_goes_behind_the_others(sqs: Sqs) -> None:
    for body in "abc":
        sqs.send("jobs", body)
    seen = [sqs.bodies("jobs", 1, timeout_s=0) for _ in range(4)]
    assert seen == [["a"], ["b"], ["c"], ["a"]]


def test_a_message_that_is_given_back_at_once_for_ever_lets_others_pass(sqs: Sqs) -> None:
    for body in ("poison", "b", "c"):
        sqs.send("jobs", body)
    served: list[str] = []
    while served[-2:] != ["b", "c"]:
        [message] = sqs.receive("jobs", 1)
        served.append(message.body)
        if message.body == "poison":
            sqs.change_visibility("jobs", message, 0)
    assert served == ["poison"] * (PLACE_KEPT_RECEIVES + 1) + ["b", "c"]


@patch("forebay.broker.core.fair.NOISY_SHARE", 1.0)
@given(st.data())
def test_the_first_that_is_visible_is_served_first(data: st.DataObject) -> None:
    """Against a list that is searched from end to end; no tenant is noisy."""
    sqs = Sqs()
    sqs.create("jobs", {"VisibilityTimeout": 3})
    hidden_until: dict[str, int] = {}
    held: dict[str, Message] = {}
    for step in range(data.draw(st.integers(1, 60))):
        match data.draw(
            st.sampled_from(["send", "send", "receive", "give back", "wait", "delete"])
        ):
            case "send":
                sqs.send("jobs", str(step), group=data.draw(st.sampled_from([None, "a", "b"])))
                hidden_until[str(step)] = 0
            case "receive":
                visible = [body for body, until in hidden_until.items() if until <= sqs.now_ms]
                limit, timeout_s = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5))
                received = sqs.receive("jobs", limit, timeout_s=timeout_s)
                assert [message.body for message in received] == visible[:limit]
                for message in received:
                    hidden_until[message.body] = sqs.now_ms + timeout_s * 1000
                held.update((message.body, message) for message in received)
            case "give back" if held:
                body = data.draw(st.sampled_from(sorted(held)))
                sqs.change_visibility("jobs", held.pop(body), 0)
                hidden_until[body] = 0
            case "delete" if held:
                body = data.draw(st.sampled_from(sorted(held)))
                sqs.delete("jobs", held.pop(body))
                del hidden_until[body]
            case _:
                sqs.wait(1)
