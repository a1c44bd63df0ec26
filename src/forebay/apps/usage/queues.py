"""The usage queue: its name, what it is set to, and how it comes into being."""

from __future__ import annotations

from msgspec import Struct

from forebay.client.base import SqsClient
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.limits import (
    MAX_RECEIVE_COUNT_MAX,
    MESSAGE_RETENTION_SECONDS_MAX,
    WAIT_TIME_SECONDS_MAX,
)

#: The queue that usage logs and other events travel through. Standard: their order says nothing.
USAGE_LOGS_QUEUE = "trinity-beast-queued-usage-logs"

#: Where what cannot be unpacked goes.
USAGE_DEAD_LETTERS_QUEUE = f"{USAGE_LOGS_QUEUE}-dlq"

#: How long a message waits for a writer, in seconds: 4 days.
USAGE_RETENTION_S = 345_600

#: How long a dead letter is kept, in seconds: 14 days. Of a standard queue they count from when the
#: message was first sent.
USAGE_DEAD_LETTERS_RETENTION_S = MESSAGE_RETENTION_SECONDS_MAX

#: How long a message stays hidden while a writer has it, in seconds. A Lambda function's timeout is
#: to be a sixth of it, which is 10 s.
USAGE_VISIBILITY_TIMEOUT_S = 60

#: How often a message is received before SQS moves it away. The writer itself moves what cannot be
#: unpacked, so this is for what a Lambda function cannot reject. Each try costs a receive while the
#: database is away, and so many last for 16 hours at the visibility timeout.
USAGE_RECEIVES_MAX = MAX_RECEIVE_COUNT_MAX


class UsageQueues(Struct, frozen=True):
    """The URLs of the usage queue and of its dead-letter queue."""

    usage_logs: str
    dead_letters: str


async def declare_usage_queues(
    client: SqsClient, *, visibility_timeout_s: int = USAGE_VISIBILITY_TIMEOUT_S
) -> UsageQueues:
    """Create the usage queue with its dead-letter queue. Declaring twice changes nothing.

    Raises SqsError, also when one of them exists with other settings.
    """
    await client.create_queue(
        USAGE_DEAD_LETTERS_QUEUE, MessageRetentionPeriod=USAGE_DEAD_LETTERS_RETENTION_S
    )
    await client.create_queue(
        USAGE_LOGS_QUEUE,
        dead_letter_queue=USAGE_DEAD_LETTERS_QUEUE,
        max_receive_count=USAGE_RECEIVES_MAX,
        MessageRetentionPeriod=USAGE_RETENTION_S,
        VisibilityTimeout=visibility_timeout_s,
        ReceiveMessageWaitTimeSeconds=WAIT_TIME_SECONDS_MAX,
    )
    return UsageQueues(
        await client.queue_url(USAGE_LOGS_QUEUE), await client.queue_url(USAGE_DEAD_LETTERS_QUEUE)
    )


async def find_or_declare_usage_queue(client: SqsClient) -> str:
    """The URL of the usage queue, which is made when it is not there.

    One that is there may be set otherwise, and asking for it takes no right to make it. Raises
    SqsError.
    """
    try:
        return await client.queue_url(USAGE_LOGS_QUEUE)
    except SqsError as error:
        if error.fault != QUEUE_DOES_NOT_EXIST:
            raise
    return (await declare_usage_queues(client)).usage_logs
