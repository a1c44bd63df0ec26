"""Spring Cloud AWS's listeners and template take the broker for Amazon SQS."""

from __future__ import annotations

import pytest

from tests.clients.java.scenarios import Play, playing


@pytest.fixture(scope="module")
def play(endpoint_url: str) -> Play:
    return playing("spring", endpoint_url)


def test_a_listener_removes_keeps_or_dead_letters_what_it_gets(play: Play) -> None:
    assert play("Listening") == {
        "sent": 36,
        "created": [{"number": 7, "buyer": "Jürgen"}, "Götterdämmerung & co", 12, "1"],
        "attempts": ["fails", "fails"],
        "dead": ["fails"],
        "always": ["fails"],
        "manual": ["keep", "leave"],
    }


def test_batches_are_sent_handled_and_acknowledged_in_part(play: Play) -> None:
    assert play("Batches") == {
        "handled": True,
        "in batches": True,
        "failed and sent": [1, 1],
        "received by the template": ["good"],
        "left of those": [0, 0, 0],
    }


def test_fifo_groups_keep_their_order_through_failures_and_slow_work(play: Play) -> None:
    assert play("Fifo") == {
        "groups": {
            "section-0": [0, 3, 6, 9],
            "section-1": [1, 4, 7, 10],
            "section-2": [2, 5, 8, 11],
        },
        "overlaps": 0,
        "failures": 1,
        "slow": ["0 1", "1 1", "2 1"],
        "created as": "true",
    }


def test_a_listener_may_prolong_its_timeout_and_an_error_handler_shorten_it(play: Play) -> None:
    assert play("Timeouts") == {
        "handled": 1,
        "seen by others": 0,
        "receives of the retried": ["1", "2", "3"],
    }


def test_a_closed_context_ends_what_it_has_and_takes_no_other(play: Play) -> None:
    assert play("Stopping") == {"ended": 1, "left": [2, 0, 0], "left of the idle": [1, 0, 0]}


def test_errors_have_the_exceptions_of_spring_and_the_sdk(play: Play) -> None:
    assert play("Refusals") == {
        "missing queue": [
            "ApplicationContextException",
            "CompletionException",
            "QueueAttributesResolvingException",
            "QueueDoesNotExistException",
        ],
        "bad characters": [
            "MessagingOperationFailedException",
            "CompletionException",
            "InvalidMessageContentsException",
        ],
    }
