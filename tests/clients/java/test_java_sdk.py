"""The AWS SDK for Java v2, with its batch manager, takes the broker for Amazon SQS."""

from __future__ import annotations

import pytest

from tests.clients.java.scenarios import Play, playing

PREFIX = "AWS.SimpleQueueService."


@pytest.fixture(scope="module")
def play(endpoint_url: str) -> Play:
    return playing("sdk", endpoint_url)


def test_the_life_cycle_of_a_standard_message(play: Play) -> None:
    assert play("LifeCycle") == {
        "same message": True,
        "same body": True,
        "seat": "AP8NCg==",
        "seat type": "Binary.png",
        "row": "12",
        "title": "Götterdämmerung & co",
        "trace": "Root=1-5759e988",
        "receives": "2",
        "seen while hidden": [],
        "left": [0, 0, 0],
        "request id": 36,
    }


def test_a_batch_reports_each_entry(play: Play) -> None:
    assert play("Batches") == {
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
    assert play("Fifo") == {
        "ascending": True,
        "same numbers": True,
        "first": "order 0",
        "same attempt": True,
        "while one is out": ["order 1", "order 3", "order 5"],
        "while all are": [],
        "groups": {
            "section-0": ["order 2", "order 4"],
            "section-1": ["order 1", "order 3", "order 5"],
        },
        "left": [0, 0, 0],
    }


def test_what_fails_goes_to_the_dead_letter_queue_and_back(play: Play) -> None:
    assert play("DeadLetters") == {
        "third receive": [],
        "dead": "fails",
        "came from": True,
        "sources": True,
        "status": "COMPLETED",
        "received again": ["fails"],
    }


def test_errors_have_the_exceptions_of_the_sdk_and_the_codes_of_query(play: Play) -> None:
    assert play("Refusals") == {
        "missing queue": ["QueueDoesNotExistException", f"{PREFIX}NonExistentQueue", 400],
        "missing queue by URL": ["QueueDoesNotExistException", f"{PREFIX}NonExistentQueue", 400],
        "other attributes": ["QueueNameExistsException", "QueueAlreadyExists", 400],
        "too soon": ["QueueDeletedRecentlyException", f"{PREFIX}QueueDeletedRecently", 400],
        "bad handle": ["ReceiptHandleIsInvalidException", "ReceiptHandleIsInvalid", 400],
        "bad characters": ["InvalidMessageContentsException", "InvalidMessageContents", 400],
        "empty batch": ["EmptyBatchRequestException", f"{PREFIX}EmptyBatchRequest", 400],
        "same ids": ["BatchEntryIdsNotDistinctException", f"{PREFIX}BatchEntryIdsNotDistinct", 400],
        "second purge": ["PurgeQueueInProgressException", f"{PREFIX}PurgeQueueInProgress", 403],
        "unknown attribute": ["InvalidAttributeNameException", "InvalidAttributeName", 400],
        "too many": ["SqsException", "InvalidParameterValue", 400],
        "not in flight": ["SqsException", "InvalidParameterValue", 400],
    }


def test_long_polls_end_when_something_comes_and_when_they_are_given_up(play: Play) -> None:
    assert play("Waiting") == {
        "woken": ["wake up"],
        "woken at once": True,
        "empty": [],
        "waited a second": True,
        "came back": ["comes back"],
        "after a cancelled poll": [1, 0, 0],
    }


def test_lists_tags_permissions_and_attributes(play: Play) -> None:
    assert play("Administering") == {
        "listed": True,
        "pages": 3,
        "tags": {"team": "shop", "cost centre": "12 + 13", "empty": ""},
        "permission": [True, True],
        "policy when gone": None,
        "changed": {"VisibilityTimeout": "77", "DelaySeconds": "0"},
    }


def test_the_batch_manager_sends_receives_and_deletes_in_batches(play: Play) -> None:
    assert play("BatchManager") == {
        "sent": 25,
        "received are those": True,
        "refused": "SqsException",
        "no handle": "SqsException",
        "left": [0, 1, 0],
        "in order": True,
        "sent at the end": [False, [1, 0, 0]],
    }
