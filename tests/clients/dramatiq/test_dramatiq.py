"""dramatiq takes the broker for Amazon SQS, by dramatiq-sqs and boto3's resources."""

from __future__ import annotations

from pathlib import Path

from mypy_boto3_sqs import SQSClient

from tests.clients.environments import python_environment
from tests.clients.peers import answer_of, configuration

SCENARIO = Path(__file__).parent / "scenario.py"


def test_messages_are_processed_delayed_retried_and_buried(
    endpoint_url: str, sqs: SQSClient
) -> None:
    told = answer_of(
        python_environment("dramatiq") / "python",
        SCENARIO,
        environment=configuration(endpoint_url),
    )
    assert told["added"] == list(range(100))
    assert told["tries"] == 3
    [late_s] = told["late_s"]
    assert late_s >= 2
    assert told["dead"] == "1"
    assert told["url"] == sqs.get_queue_url(QueueName="shop_failing_dlq")["QueueUrl"]
