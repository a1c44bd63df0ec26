"""The AWS SDK for Go v2 takes the broker for Amazon SQS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.environments import go_environment
from tests.clients.peers import answer_of, configuration

PREFIX = "AWS.SimpleQueueService."

Play = Callable[[str], Any]


@pytest.fixture(scope="module")
def play(endpoint_url: str) -> Play:
    """What a scenario prints."""
    program = go_environment("go")
    return lambda name: answer_of(program, name, environment=configuration(endpoint_url))


def test_the_life_cycle_of_a_standard_message(play: Play) -> None:
    assert play("life_cycle") == {
        "same message": True,
        "length": 200_019,
        "begins": "hello 日本 <&>\r\n",
        "seat": [0, 255, 13, 10],
        "seat type": "Binary.png",
        "row": "12",
        "title": "Götterdämmerung & co",
        "trace": "Root=1-5759e988",
        "receives": "2",
        "sender": "000000000000",
        "seen while hidden": 0,
        "left": [0, 0, 0],
    }


def test_a_batch_reports_each_entry(play: Play) -> None:
    assert play("batches") == {
        "sent": ["good", "late"],
        "not sent": [["long", "InvalidParameterValue", True]],
        "after the batch": [1, 0, 1],
        "changed": 1,
        "not changed": [["bad", "ReceiptHandleIsInvalid", True]],
        "removed": 1,
        "not removed": [["bad", "ReceiptHandleIsInvalid", True]],
        "gone": [["gone", "ReceiptHandleIsInvalid", True]],
    }


def test_fifo_keeps_the_order_of_a_group_and_drops_duplicates(play: Play) -> None:
    assert play("fifo") == {
        "ascending": True,
        "same numbers": True,
        "first": "order 0",
        "same attempt": True,
        "first number": True,
        "while one is out": ["order 1", "order 3", "order 5"],
        "while all are": [],
        "groups": {
            "section-0": ["order 2", "order 4"],
            "section-1": ["order 1", "order 3", "order 5"],
        },
        "left": [0, 0, 0],
    }


def test_what_fails_goes_to_the_dead_letter_queue_and_back(play: Play) -> None:
    assert play("dead_letters") == {
        "third receive": 0,
        "dead": "fails",
        "came from": True,
        "sources": True,
        "status": "COMPLETED",
        "received again": ["fails"],
    }


def test_errors_have_the_types_of_the_sdk_and_the_codes_of_query(play: Play) -> None:
    assert play("errors") == {
        "missing queue": [True, f"{PREFIX}NonExistentQueue", "client"],
        "missing queue by URL": [True, f"{PREFIX}NonExistentQueue", "client"],
        "other attributes": [True, "QueueAlreadyExists", "client"],
        "too soon": [True, f"{PREFIX}QueueDeletedRecently", "client"],
        "bad handle": [True, "ReceiptHandleIsInvalid", "client"],
        "bad characters": [True, "InvalidMessageContents", "client"],
        "empty batch": [True, f"{PREFIX}EmptyBatchRequest", "client"],
        "same ids": [True, f"{PREFIX}BatchEntryIdsNotDistinct", "client"],
        "second purge": [True, f"{PREFIX}PurgeQueueInProgress", "client"],
        "unknown attribute": [True, "InvalidAttributeName", "client"],
        "too many": [True, "InvalidParameterValue", "client"],
        "not in flight": [True, "InvalidParameterValue", "client"],
        "no task": [True, "InvalidParameterValue", "client"],
    }


def test_long_polls_end_when_something_comes_and_when_nothing_does(play: Play) -> None:
    assert play("waiting") == {
        "woken": ["wake up"],
        "woken at once": True,
        "empty": 0,
        "waited a second": True,
        "came back": ["comes back"],
    }


def test_a_cancelled_poll_takes_no_message(play: Play) -> None:
    assert play("stopping") == {"cancelled": True, "left": [1, 0, 0]}


def test_lists_tags_permissions_and_attributes(play: Play) -> None:
    assert play("administering") == {
        "listed": True,
        "pages": 3,
        "tags": {"team": "shop", "cost centre": "12 + 13", "empty": ""},
        "permission": ["partners", "SQS:SendMessage"],
        "policy when gone": "",
        "changed": {"VisibilityTimeout": "77", "DelaySeconds": "0"},
    }
