"""aiobotocore takes the broker for Amazon SQS; it finds it by environment variables alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import python_environment
from tests.clients.peers import answer_of, configuration

SCENARIOS = Path(__file__).parent / "scenarios.py"


@pytest.fixture(scope="module")
def play(endpoint_url: str) -> Callable[[str], Any]:
    """What a scenario prints."""
    python = python_environment("aiobotocore") / "python"
    return lambda name: answer_of(python, SCENARIOS, name, environment=configuration(endpoint_url))


def test_the_life_cycle_of_a_standard_message(play: Callable[[str], Any]) -> None:
    assert play("standard") == {
        "same message": True,
        "body": "hello \u65e5\u672c",
        "attribute": [0, 1],
        "receives": "2",
        "seen while hidden": 0,
        "new handle": True,
        "left": "0",
        "gone": "AWS.SimpleQueueService.NonExistentQueue",
    }


def test_fifo_groups_keep_their_order_and_drop_duplicates(play: Callable[[str], Any]) -> None:
    assert play("fifo") == {"a": ["0", "2", "4"], "b": ["1", "3", "5"]}


def test_batches_report_each_entry_or_fail_whole(play: Callable[[str], Any]) -> None:
    assert play("batches") == {
        "sent": ["good"],
        "not sent": {"long": "InvalidParameterValue", "illegal": "InvalidMessageContents"},
        "deleted": ["good"],
        "not deleted": {"bad": "ReceiptHandleIsInvalid"},
        "refused": [
            "AWS.SimpleQueueService.EmptyBatchRequest",
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        ],
    }


def test_a_long_poll_wakes_and_only_that_one(play: Callable[[str], Any]) -> None:
    polls = play("long_poll")
    at_once_s, after_the_delay_s = polls["waits_s"]
    assert at_once_s < 5
    assert 1 <= after_the_delay_s < 5
    assert polls["woken for nothing"] == 0


def test_a_hundred_tasks_share_a_client(play: Callable[[str], Any]) -> None:
    assert play("concurrency") == {"received": 1000, "as sent": True, "left": ["0", "0"]}
