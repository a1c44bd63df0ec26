"""The Amazon SQS Java Messaging Library (JMS) takes the broker for Amazon SQS."""

from __future__ import annotations

import pytest

from tests.clients.java.scenarios import Play, playing


@pytest.fixture(scope="module")
def play(endpoint_url: str) -> Play:
    return playing("jms", endpoint_url)


def test_every_kind_of_message_arrives_as_it_was_sent(play: Play) -> None:
    assert play("Messages") == {
        "same id": True,
        "text": "hello 日本 <&>\r\n",
        "title": "Götterdämmerung & co",
        "row": 12,
        "price": 12.5,
        "balcony": True,
        "correlation": "correlated",
        "reply to": "answers",
        "redelivered": [False, 1],
        "bytes": "AP8NCg==",
        "object": ["a", 1],
        "foreign": "from another client",
        "before its time": None,
        "heard": "to a listener",
        "left": [0, 0, 1],
    }


def test_each_acknowledge_mode_removes_what_it_says(play: Play) -> None:
    assert play("Acknowledging") == {
        "automatic": [1, 0, 0],
        "by the client": [[0, 3, 0], [0, 1, 0]],
        "unordered": [0, 2, 0],
        "recovered": {
            "given back": [2, 0, 0],
            "again": ["1", "2"],
            "counts": [2, 2],
            "left": [0, 0, 0],
        },
    }


def test_a_failing_listener_gives_back_and_a_closed_one_ends_what_it_has(play: Play) -> None:
    assert play("Listening") == {
        "failing": {"heard": ["fails", "fails", "succeeds"], "dead": ["fails"]},
        "stopped": {"ended": 1, "left": [4, 0, 0]},
    }


def test_a_fifo_group_keeps_its_order_when_it_recovers(play: Play) -> None:
    assert play("Fifo") == {
        "first": ["order 0", "order 1", "order 2"],
        "again": ["order 1", "order 2", "order 3"],
        "ascending": True,
        "groups": ["section", "section", "section"],
        "afterwards": None,
        "left": [0, 0, 0],
    }


def test_errors_have_the_exceptions_of_the_library(play: Play) -> None:
    assert play("Refusals") == {
        "missing queue": ["InvalidDestinationException", "QueueDoesNotExistException"],
        "bad characters": ["JMSException", "InvalidMessageContentsException"],
        "too long": ["JMSException", "SqsException"],
        "exists": [False, True],
    }
