"""Reading what queues say of themselves, and taking out what they hold when a run is over."""

from __future__ import annotations

from msgspec import Struct

from forebay.client.base import SqsClient
from forebay.lab.ledger import Found, Reading
from forebay.lab.recording_client import RECEIVE_COUNT, id_in
from forebay.protocol.actions import (
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    GetQueueAttributesRequest,
    ReceiveMessageRequest,
)
from forebay.protocol.limits import BATCH_ENTRIES_MAX

#: Empty receives in a row after which a queue is taken to be empty. SQS asks some of its machines
#: for each, so one tells nothing.
_EMPTY_RECEIVES = 3


class QueueAddress(Struct, frozen=True, kw_only=True):
    """Where a scenario's queue and its dead-letter queue are."""

    #: What the scenario calls it, and its name at SQS.
    name: str
    full_name: str
    url: str
    arn: str
    dead_letters_url: str | None = None
    dead_letters_arn: str | None = None
    retention_s: int = 345_600


async def read_queue(client: SqsClient, queue: QueueAddress) -> Reading:
    """The counts of a queue and of its dead-letter queue."""
    counts = await _attributes(client, queue.url)
    dead = await _attributes(client, queue.dead_letters_url) if queue.dead_letters_url else {}
    return Reading(
        name=queue.name,
        queue=queue.full_name,
        dead_queue=queue.dead_letters_url.rpartition("/")[2] if queue.dead_letters_url else None,
        visible=int(counts["ApproximateNumberOfMessages"]),
        in_flight=int(counts["ApproximateNumberOfMessagesNotVisible"]),
        delayed=int(counts["ApproximateNumberOfMessagesDelayed"]),
        dead=sum(
            int(count)
            for name, count in dead.items()
            if name.startswith("ApproximateNumberOfMessages")
        ),
        retention_s=queue.retention_s,
    )


async def take_out(client: SqsClient, url: str) -> list[Found]:
    """Receive and delete all that a queue gives out. What is in flight or delayed stays."""
    found: list[Found] = []
    empty = 0
    while empty < _EMPTY_RECEIVES:
        answer = await client.receive_message(
            ReceiveMessageRequest(
                queue_url=url,
                max_number_of_messages=BATCH_ENTRIES_MAX,
                wait_time_seconds=0,
                message_system_attribute_names=[RECEIVE_COUNT],
            )
        )
        messages = answer.messages or []
        empty = 0 if messages else empty + 1
        found += [
            Found(
                each.message_id,
                id_in(each.body),
                each.body,
                int((each.attributes or {}).get(RECEIVE_COUNT, 0)),
            )
            for each in messages
        ]
        if messages:
            await client.delete_message_batch(
                DeleteMessageBatchRequest(
                    queue_url=url,
                    entries=[
                        DeleteMessageBatchRequestEntry(
                            id=str(index), receipt_handle=each.receipt_handle
                        )
                        for index, each in enumerate(messages)
                    ],
                )
            )
    return found


async def _attributes(client: SqsClient, url: str) -> dict[str, str]:
    answer = await client.get_queue_attributes(
        GetQueueAttributesRequest(queue_url=url, attribute_names=["All"])
    )
    return answer.attributes or {}


async def find_queue(
    client: SqsClient, name: str, full_name: str, dead_name: str | None
) -> QueueAddress:
    """The address of a queue that is there. Raises SqsError when it is not."""
    url = await client.queue_url(full_name)
    attributes = await _attributes(client, url)
    dead_url = await client.queue_url(dead_name) if dead_name else None
    dead = await _attributes(client, dead_url) if dead_url else {}
    return QueueAddress(
        name=name,
        full_name=full_name,
        url=url,
        arn=attributes["QueueArn"],
        dead_letters_url=dead_url,
        dead_letters_arn=dead.get("QueueArn"),
        retention_s=int(attributes["MessageRetentionPeriod"]),
    )
