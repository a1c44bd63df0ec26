from __future__ import annotations

import msgspec
import pytest

from forebay.apps.usage.queues import (
    USAGE_DEAD_LETTERS_QUEUE,
    USAGE_LOGS_QUEUE,
    declare_usage_queues,
    find_or_declare_usage_queue,
)
from forebay.broker.embedded import EmbeddedBroker
from forebay.client.http import HttpSqsClient
from forebay.protocol.actions import GetQueueAttributesRequest
from forebay.protocol.errors import SqsError


async def test_the_queue_is_set_as_the_document_says() -> None:
    with EmbeddedBroker() as broker:
        async with HttpSqsClient(broker.endpoint_url) as client:
            queues = await declare_usage_queues(client)
            assert await declare_usage_queues(client) == queues
            answers = [
                await client.get_queue_attributes(
                    GetQueueAttributesRequest(queue_url=url, attribute_names=["All"])
                )
                for url in (queues.usage_logs, queues.dead_letters)
            ]
    logs, dead_letters = (answer.attributes or {} for answer in answers)
    assert logs["QueueArn"].endswith(":trinity-beast-queued-usage-logs")
    assert logs["QueueArn"].endswith(f":{USAGE_LOGS_QUEUE}")
    assert "FifoQueue" not in logs
    assert logs["MessageRetentionPeriod"] == str(4 * 86_400)
    assert logs["VisibilityTimeout"] == "60"
    policy = msgspec.json.decode(logs["RedrivePolicy"])
    assert policy["deadLetterTargetArn"] == dead_letters["QueueArn"]
    assert policy["maxReceiveCount"] == 1_000
    assert dead_letters["QueueArn"].endswith(f":{USAGE_DEAD_LETTERS_QUEUE}")
    assert dead_letters["MessageRetentionPeriod"] == str(14 * 86_400)


async def test_a_queue_that_is_there_is_taken_as_it_is() -> None:
    with EmbeddedBroker() as broker:
        async with HttpSqsClient(broker.endpoint_url) as client:
            made = await client.create_queue(USAGE_LOGS_QUEUE, VisibilityTimeout=7)
            assert await find_or_declare_usage_queue(client) == made.queue_url
            with pytest.raises(SqsError, match="NonExistentQueue"):
                await client.queue_url(USAGE_DEAD_LETTERS_QUEUE)


async def test_a_queue_that_is_missing_is_made_with_its_dead_letter_queue() -> None:
    with EmbeddedBroker() as broker:
        async with HttpSqsClient(broker.endpoint_url) as client:
            url = await find_or_declare_usage_queue(client)
            assert (await declare_usage_queues(client)).usage_logs == url
