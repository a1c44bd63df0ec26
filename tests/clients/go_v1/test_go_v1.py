"""The AWS SDK for Go v1 takes the broker for Amazon SQS, by the Query protocol and by AWS JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.environments import go_environment
from tests.clients.peers import answer_of, configuration
from tests.clients.serving import serving

PREFIX = "AWS.SimpleQueueService."

Play = Callable[[str], Any]

#: The file that locks a version of the SDK, and the protocol that this version speaks.
VERSIONS = {"go.mod": "query", "json.mod": "json 1.0"}


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def play(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """What a scenario prints."""
    program = go_environment("go_v1", needs=version)
    with serving(tmp_path_factory.mktemp("broker")) as endpoint_url:
        environment = configuration(endpoint_url)
        yield lambda name: answer_of(program, name, environment=environment)


def test_the_versions_speak_different_protocols(play: Play, version: str) -> None:
    assert play("protocol") == {"protocol": VERSIONS[version]}


def test_the_life_cycle_of_a_standard_message(play: Play) -> None:
    assert play("life_cycle") == {
        "same message": True,
        "length": 200_019,
        "begins": "hello \u65e5\u672c <&>\r\n",
        "seat": True,
        "row": "Number.int",
        "trace": "Root=1-5759e988",
        "receives": "2",
        "seen while hidden": 0,
        "left": [0, 0, 0],
    }


def test_lists_and_maps_may_be_empty(play: Play) -> None:
    assert play("empty") == {
        "received": 2,
        "its attributes": 0,
        "attributes": 0,
        "sent": f"{PREFIX}EmptyBatchRequest",
        "changed": f"{PREFIX}EmptyBatchRequest",
        "deleted": f"{PREFIX}EmptyBatchRequest",
        "an empty list": f"{PREFIX}UnsupportedOperation",
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
    }


def test_errors_have_the_codes_of_the_sdk(play: Play) -> None:
    assert play("errors") == {
        "missing queue": True,
        "missing queue by URL": True,
        "other attributes": True,
        "bad handle": True,
        "bad characters": True,
        "second purge": True,
        "unknown attribute": True,
        "too many": "InvalidParameterValue",
    }


def test_long_polls_end_when_something_comes_and_when_nothing_does(play: Play) -> None:
    assert play("waiting") == {"woken": "wake up", "woken at once": True, "empty": 0}
