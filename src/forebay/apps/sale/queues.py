"""The queues of the sale: their names, what they are set to, and how they come into being."""

from __future__ import annotations

from forebay.apps.usage.queues import (
    USAGE_DEAD_LETTERS_QUEUE,
    USAGE_LOGS_QUEUE,
    declare_usage_queues,
)
from forebay.client.base import SqsClient
from forebay.protocol.actions import GetQueueAttributesRequest
from forebay.protocol.limits import (
    MESSAGE_RETENTION_SECONDS_MAX,
    VISIBILITY_TIMEOUT_SECONDS_DEFAULT,
    WAIT_TIME_SECONDS_MAX,
)

ORDERS = "ticket-orders.fifo"
USAGE_LOGS = USAGE_LOGS_QUEUE
NOTIFICATIONS = "notifications"

#: Every queue and the queue for what cannot be handled from it.
DEAD_LETTER_QUEUES = {
    ORDERS: "ticket-orders-dlq.fifo",
    USAGE_LOGS: USAGE_DEAD_LETTERS_QUEUE,
    NOTIFICATIONS: "notifications-dlq",
}

#: How often an order is received before it goes to the dead-letter queue. While it is tried, the
#: orders of its section wait.
ORDER_RECEIVES_MAX = 3

#: The same for notifications: nothing waits for one that fails.
NOTIFICATION_RECEIVES_MAX = 10

_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


async def declare_queues(
    client: SqsClient, *, visibility_timeout_s: int = VISIBILITY_TIMEOUT_SECONDS_DEFAULT
) -> dict[str, str]:
    """Create the queues, each with its dead-letter queue. Declaring twice changes nothing.

    `visibility_timeout_s` is how long a section waits when its worker dies with orders in hand;
    workers that live extend it.
    """
    await declare_usage_queues(client, visibility_timeout_s=visibility_timeout_s)
    for name, receives_max in (
        (ORDERS, ORDER_RECEIVES_MAX),
        (NOTIFICATIONS, NOTIFICATION_RECEIVES_MAX),
    ):
        dead_letters = DEAD_LETTER_QUEUES[name]
        await client.create_queue(
            dead_letters, MessageRetentionPeriod=MESSAGE_RETENTION_SECONDS_MAX
        )
        await client.create_queue(
            name,
            dead_letter_queue=dead_letters,
            max_receive_count=receives_max,
            VisibilityTimeout=visibility_timeout_s,
            ReceiveMessageWaitTimeSeconds=WAIT_TIME_SECONDS_MAX,
        )
    return await find_queues(client)


async def find_queues(client: SqsClient) -> dict[str, str]:
    """The URL of each queue by its name. Raises SqsError when one was not declared."""
    return {
        name: await client.queue_url(name)
        for name in (*DEAD_LETTER_QUEUES, *DEAD_LETTER_QUEUES.values())
    }


async def messages_left(client: SqsClient, queue_url: str) -> int:
    """How many messages a queue holds: visible, in flight and delayed together."""
    answer = await client.get_queue_attributes(
        GetQueueAttributesRequest(queue_url=queue_url, attribute_names=list(_COUNTS))
    )
    counts = answer.attributes or {}
    return sum(int(counts[name]) for name in _COUNTS)
