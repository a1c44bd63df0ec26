"""The AWS SDK for JavaScript v2 and sqs-consumer 5 take the broker for Amazon SQS."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import javascript_environment
from tests.clients.peers import answer_of, configuration
from tests.clients.serving import serving

SCENARIOS = Path(__file__).parent / "scenarios"

PREFIX = "AWS.SimpleQueueService."

Play = Callable[[str], Any]

#: The package that a version of the SDK is installed as, and the protocol that it speaks.
VERSIONS = {"aws-sdk": "query", "aws-sdk-json": "json"}


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def play(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """What a scenario prints."""
    node, directory = javascript_environment("javascript_v2")
    # A module finds its packages beside itself or above, and nowhere else.
    scenarios = directory / "scenarios"
    shutil.copytree(SCENARIOS, scenarios, dirs_exist_ok=True)
    with serving(tmp_path_factory.mktemp("broker")) as endpoint_url:
        environment = configuration(endpoint_url) | {
            "AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE": "1",
            "SDK": version,
        }
        yield lambda name: answer_of(node, scenarios / f"{name}.js", environment=environment)


def test_the_versions_speak_different_protocols(play: Play, version: str) -> None:
    assert play("protocol") == {"protocol": VERSIONS[version]}


def test_the_life_cycle_of_a_standard_message(play: Play) -> None:
    assert play("life_cycle") == {
        "same message": True,
        "body": "hello \u65e5\u672c <&>\r\n",
        "seat": [0, 255],
        "row": "Number.int",
        "receives": "2",
        "seen while hidden": 0,
        "left": [0, 0],
    }


def test_lists_and_maps_may_be_empty(play: Play) -> None:
    answer = play("empty")
    [members] = {tuple(message) for message in answer.pop("received")}
    assert {"Body", "MD5OfBody", "MessageId", "ReceiptHandle"} <= set(members)
    assert answer == {
        "attributes": [],
        "sent": f"{PREFIX}EmptyBatchRequest",
        "changed": f"{PREFIX}EmptyBatchRequest",
        "deleted": f"{PREFIX}EmptyBatchRequest",
        "an empty list": f"{PREFIX}UnsupportedOperation",
    }


def test_errors_have_the_codes_of_query(play: Play) -> None:
    assert play("errors") == {
        "missing queue": [f"{PREFIX}NonExistentQueue", 400],
        "missing queue by URL": [f"{PREFIX}NonExistentQueue", 400],
        "other attributes": ["QueueAlreadyExists", 400],
        "bad handle": ["ReceiptHandleIsInvalid", 400],
        "bad characters": ["InvalidMessageContents", 400],
        "second purge": [f"{PREFIX}PurgeQueueInProgress", 403],
        "unknown attribute": ["InvalidAttributeName", 400],
        "too many": ["InvalidParameterValue", 400],
    }


def test_the_consumer_handles_all_and_gives_back_what_fails(play: Play) -> None:
    handled = {"bodies": ["body 0", "body 1", "body 2"], "errors": [], "left": [0, 0]}
    assert play("consume") == {
        "single": handled,
        "batches": handled,
        "failing": {
            "bodies": ["body 0"],
            "errors": ["processing_error: Unexpected message handler failure: not yet"],
            "left": [0, 0],
        },
    }
