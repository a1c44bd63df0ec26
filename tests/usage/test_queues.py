from __future__ import annotations

import msgspec

from forebay.apps.usage.queues import (
    USAGE_DEAD_LETTERS_QUEUE,
    USAGE_LOGS_QUEUE,
    declare_usage_queues,
)
from forebay.broker.embedded import EmbeddedBroker
from forebay.client.http import HttpSqsClient
from forebay.protocol.actions import GetQueueAttributesRequest


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
