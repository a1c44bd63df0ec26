"""The AWS SDK for JavaScript, sqs-producer and sqs-consumer take the broker for Amazon SQS."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import javascript_environment
from tests.clients.peers import answer_of, configuration

SCENARIOS = Path(__file__).parent / "scenarios"

PREFIX = "AWS.SimpleQueueService."


@pytest.fixture(scope="module")
def play(endpoint_url: str) -> Callable[[str], Any]:
    """What a scenario prints."""
    node, directory = javascript_environment("javascript")
    # A module finds its packages beside itself or above, and nowhere else.
    scenarios = directory / "scenarios"
    shutil.copytree(SCENARIOS, scenarios, dirs_exist_ok=True)
    return lambda name: answer_of(
        node, scenarios / f"{name}.js", environment=configuration(endpoint_url)
    )


def test_the_life_cycle_of_a_standard_message(play: Callable[[str], Any]) -> None:
    assert play("life_cycle") == {
        "same message": True,
        "body": "hello \u65e5\u672c",
        "seat": [0, 255],
        "row": "Number.int",
        "receives": "2",
        "seen while hidden": 0,
        "sent": ["good"],
        "not sent": [["long", "InvalidParameterValue", True]],
        "removed": ["good"],
        "not removed": [["bad", "ReceiptHandleIsInvalid", True]],
        "tags": {"team": "shop", "empty": ""},
        "left": [0, 0],
        "request id": "string",
    }


def test_errors_have_the_names_of_the_sdk(play: Callable[[str], Any]) -> None:
    missing = ["QueueDoesNotExist", f"{PREFIX}NonExistentQueue", 400]
    assert play("errors") == {
        "missing queue": missing,
        "missing queue by URL": missing,
        "other attributes": ["QueueNameExists", "QueueAlreadyExists", 400],
        "bad handle": ["ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 400],
        "bad characters": ["InvalidMessageContents", "InvalidMessageContents", 400],
        "empty batch": ["EmptyBatchRequest", f"{PREFIX}EmptyBatchRequest", 400],
        "second purge": ["PurgeQueueInProgress", f"{PREFIX}PurgeQueueInProgress", 403],
        "unknown attribute": ["InvalidAttributeName", "InvalidAttributeName", 400],
        "too many": ["InvalidParameterValue", "InvalidParameterValue", 400],
        "is an instance": True,
    }


def test_what_the_producer_sends_the_consumer_handles_in_batches(
    play: Callable[[str], Any],
) -> None:
    assert play("produce_and_consume") == {
        "sent": 200,
        "size": 200,
        "bodies": sorted(f"body {number} {number % 2}" for number in range(200)),
        "largest batch": 10,
        "errors": [],
        "left": [0, 0],
    }


def test_heartbeats_keep_a_message_and_a_failure_gives_it_back(play: Callable[[str], Any]) -> None:
    assert play("heartbeat") == {
        "handled": 1,
        "seen by others": 0,
        "left of the slow": [0, 0],
        "receives": ["1", "2"],
        "left of the failing": [0, 0],
    }


def test_a_stopped_consumer_finishes_its_message_and_takes_no_other(
    play: Callable[[str], Any],
) -> None:
    assert play("graceful_stop") == {
        "finished": ["first"],
        "after the handler": [1, 0],
        "after the abort": [1, 0],
    }


def test_each_fifo_group_is_handled_in_order_and_once(play: Callable[[str], Any]) -> None:
    assert play("fifo") == {
        "groups": {f"section-{section}": list(range(section, 60, 3)) for section in range(3)},
        "overlaps": 0,
        "errors": [],
        "left": [0, 0],
    }
