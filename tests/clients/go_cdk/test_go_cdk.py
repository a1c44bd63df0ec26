"""The Go CDK's own conformance suite for SQS passes with the broker in the place of Amazon SQS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.environments import go_environment
from tests.clients.peers import configuration, output_of
from tests.clients.serving import serving

SUITE = "TestConformanceSQSTopic"

#: The account whose queues the suite looks for in vain.
ACCOUNT_ID = "456752665576"

#: What the suite consists of. Two subscriptions to one topic are for SNS.
RESULTS = {
    "TestSendReceive": "PASS",
    "TestSendReceiveTwo": "SKIP",
    "TestSendReceiveJSON": "PASS",
    "TestNack": "PASS",
    "TestBatching": "PASS",
    "TestDoubleAck": "PASS",
    "TestErrorOnSendToClosedTopic": "PASS",
    "TestErrorOnReceiveFromClosedSubscription": "PASS",
    "TestCancelSendReceive": "PASS",
    "TestNonExistentTopicSucceedsOnOpenButFailsOnSend": "PASS",
    "TestNonExistentSubscriptionSucceedsOnOpenButFailsOnReceive": "PASS",
    "TestMetadata": "PASS",
    "TestNonUTF8MessageBody": "PASS",
    "TestAs": "PASS",
    "TestAs/aws_test": "PASS",
    "TestAs/verify_As_returns_false_when_passed_nil": "PASS",
}


@pytest.fixture(scope="module")
def endpoint_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("broker"), ACCOUNT_ID) as url:
        yield url


def test_every_test_of_the_conformance_suite_passes(endpoint_url: str, tmp_path: Path) -> None:
    program = go_environment("go_cdk", own_tests_of="gocloud.dev/pubsub/awssnssqs")
    # Without -record the suite replays what AWS once answered. With it, it asks the endpoint, and
    # leaves a recording in its directory.
    output = output_of(
        *(program, "-test.run", f"^{SUITE}$", "-test.v", "-record"),
        environment=configuration(endpoint_url),
        directory=tmp_path,
    )
    results = re.findall(rf"^ *--- (\w+): {SUITE}/(\S+) ", output, re.MULTILINE)
    assert {name: result for result, name in results} == RESULTS
