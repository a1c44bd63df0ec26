from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from forebay.apps.sale.domain import ORDER_TYPE, Order
from forebay.apps.sale.queues import (
    DEAD_LETTER_QUEUES,
    NOTIFICATIONS,
    ORDERS,
    USAGE_LOGS,
    declare_queues,
    find_queues,
    messages_left,
)
from forebay.apps.sale.readback import DEAD_LETTERS_FILE, count_left, take_dead_letters
from forebay.apps.usage.queues import USAGE_RECEIVES_MAX
from forebay.broker.embedded import EmbeddedBroker
from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.messages.envelope import encode_envelope
from forebay.protocol.actions import (
    GetQueueAttributesRequest,
    Message,
    ReceiveMessageRequest,
    SendMessageRequest,
)
from forebay.protocol.errors import SqsError

DEAD_LETTERS = DEAD_LETTER_QUEUES[ORDERS]

#: How often each queue lets a message be received.
RECEIVES_MAX = {ORDERS: 3, USAGE_LOGS: USAGE_RECEIVES_MAX, NOTIFICATIONS: 10}


@pytest.fixture
async def client() -> AsyncIterator[SqsClient]:
    with EmbeddedBroker() as broker:
        async with HttpSqsClient(broker.endpoint_url) as opened:
            yield opened


async def dead_letter(client: SqsClient, url: str, number: int, body: str | None = None) -> None:
    order = Order(f"o{number}", "gala", "stalls", "ada")
    envelope = encode_envelope(f"e{number}", ORDER_TYPE, "2026-11-22T08:00:00.000Z", "api-1", order)
    await client.send_message(
        SendMessageRequest(
            queue_url=url,
            message_body=body or envelope,
            message_group_id="gala#stalls",
            message_deduplication_id=f"d{number}",
        )
    )


async def test_every_queue_has_a_dead_letter_queue_of_its_kind(client: SqsClient) -> None:
    queues = await declare_queues(client, visibility_timeout_s=5)
    assert set(queues) == {*DEAD_LETTER_QUEUES, *DEAD_LETTER_QUEUES.values()}
    for name, dead_letter_name in DEAD_LETTER_QUEUES.items():
        answer = await client.get_queue_attributes(
            GetQueueAttributesRequest(queue_url=queues[name], attribute_names=["All"])
        )
        attributes = answer.attributes or {}
        policy = msgspec.json.decode(attributes["RedrivePolicy"])
        assert policy["deadLetterTargetArn"].endswith(f":{dead_letter_name}")
        assert policy["maxReceiveCount"] == RECEIVES_MAX[name]
        assert attributes["VisibilityTimeout"] == "5"


async def test_declaring_twice_changes_nothing(client: SqsClient) -> None:
    assert await declare_queues(client) == await declare_queues(client)


async def test_a_queue_that_nobody_declared_is_an_error(client: SqsClient) -> None:
    with pytest.raises(SqsError, match="NonExistentQueue"):
        await find_queues(client)


async def test_a_message_is_left_until_it_is_deleted(client: SqsClient) -> None:
    queues = await declare_queues(client)
    url = queues[USAGE_LOGS]
    for delay_s in (0, 0, 60):
        await client.send_message(
            SendMessageRequest(queue_url=url, message_body="log", delay_seconds=delay_s)
        )
    await client.receive_message(ReceiveMessageRequest(queue_url=url, wait_time_seconds=0))
    assert await messages_left(client, url) == 3
    assert (await count_left(client, queues))[USAGE_LOGS] == 3


async def test_dead_letters_of_one_group_are_all_read_and_kept_in_a_file(
    client: SqsClient, tmp_path: Path
) -> None:
    queues = await declare_queues(client)
    for number in range(25):
        await dead_letter(client, queues[DEAD_LETTERS], number)
    assert DEAD_LETTERS not in await count_left(client, queues)
    order_ids = await take_dead_letters(client, queues, tmp_path)
    assert order_ids == [f"o{number}" for number in range(25)]
    assert await messages_left(client, queues[DEAD_LETTERS]) == 0
    lines = (tmp_path / DEAD_LETTERS_FILE).read_bytes().splitlines()
    assert len([msgspec.json.decode(line, type=Message) for line in lines]) == 25


async def test_a_dead_letter_that_is_no_order_counts_as_itself(
    client: SqsClient, tmp_path: Path
) -> None:
    queues = await declare_queues(client)
    await dead_letter(client, queues[DEAD_LETTERS], 1, body="not an envelope")
    (identifier,) = await take_dead_letters(client, queues, tmp_path)
    assert (tmp_path / DEAD_LETTERS_FILE).read_text().count(identifier) == 1
