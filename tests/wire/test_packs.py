"""Packs go through the broker in both protocols, and to readers that are not ours."""

from __future__ import annotations

import asyncio
import random
import xml.etree.ElementTree as ElementTree
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import boto3
import pytest
from msgspec.json import decode, encode

from forebay import HttpSqsClient, Pack, Queue, Received, Router, Worker, WorkerSettings
from forebay.broker.embedded import EmbeddedBroker
from forebay.messages.packing import PACK_ATTRIBUTE, PACK_BYTES_MAX, SealedPack, open_pack, seal
from tests.docs.pack_reader import shown_reader
from tests.runtime.usage_records import usage_records

DIRECTLY = build_opener(ProxyHandler({}))


def sealed(records: list[bytes]) -> SealedPack:
    return seal(records, identifier="p-1", type="usage_log", node="api-1", first_ms=1, last_ms=2)


#: One that AWS bills as one request, and one of a single large record that nothing makes smaller.
PACKS = {
    "usage logs": sealed(usage_records(4_500)),
    "a large record": sealed([encode((5, random.Random(0).randbytes(600_000)))]),
}


@pytest.fixture(params=PACKS)
def pack(request: pytest.FixtureRequest) -> SealedPack:
    return PACKS[request.param]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path) as broker:
        yield broker


def boto3_client(broker: EmbeddedBroker) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=broker.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def query(broker: EmbeddedBroker, action: str, **parameters: str) -> ElementTree.Element:
    """The answer to a call in the Query protocol, without its namespace."""
    form = urlencode({"Action": action, **parameters}).encode()
    with DIRECTLY.open(broker.endpoint_url, form) as answer:
        text = answer.read().decode()
    return ElementTree.fromstring(text.replace(' xmlns="', ' ignored="'))


def test_the_usage_logs_are_billed_as_one_request() -> None:
    assert PACK_BYTES_MAX * 0.7 < PACKS["usage logs"].size_bytes <= PACK_BYTES_MAX


def test_boto3_reads_what_our_client_sends(broker: EmbeddedBroker, pack: SealedPack) -> None:
    async def send() -> None:
        async with HttpSqsClient(broker.endpoint_url) as client:
            await client.create_queue("logs")
            await client.send("logs", pack.body.decode(), attributes={PACK_ATTRIBUTE: pack.content})

    asyncio.run(send())
    sqs = boto3_client(broker)
    url = sqs.get_queue_url(QueueName="logs")["QueueUrl"]
    [message] = sqs.receive_message(QueueUrl=url, MessageAttributeNames=[PACK_ATTRIBUTE])[
        "Messages"
    ]
    envelopes = list(shown_reader()(message))
    assert len(envelopes) == pack.header.events
    opened = open_pack(pack.body.decode(), pack.content)
    assert [each["payload"] for each in envelopes] == [
        decode(line)[1] for line in opened.lines.split(b"\n")
    ]
    assert envelopes[-1]["id"] == f"p-1-{pack.header.events - 1}"
    sqs.close()


def test_the_query_protocol_carries_a_pack_there_and_back(
    broker: EmbeddedBroker, pack: SealedPack
) -> None:
    query(broker, "CreateQueue", QueueName="logs")
    attribute = "MessageAttribute.1"
    query(
        broker,
        "SendMessage",
        QueueUrl="logs",
        MessageBody=pack.body.decode(),
        **{
            f"{attribute}.Name": PACK_ATTRIBUTE,
            f"{attribute}.Value.DataType": "Binary",
            f"{attribute}.Value.BinaryValue": b64encode(pack.content).decode(),
        },
    )
    answer = query(
        broker, "ReceiveMessage", **{"QueueUrl": "logs", "MessageAttributeName.1": "All"}
    )
    body = answer.findtext(".//Body")
    content = answer.findtext(".//BinaryValue")
    assert body is not None
    assert content is not None
    assert open_pack(body, b64decode(content)) == open_pack(pack.body.decode(), pack.content)


def test_a_worker_takes_what_boto3_sends_and_rejects_what_is_damaged(
    broker: EmbeddedBroker,
) -> None:
    """The worker has to ask for message attributes, or it would see headers alone."""
    pack = PACKS["usage logs"]
    sqs = boto3_client(broker)
    dead_url = sqs.create_queue(QueueName="dead")["QueueUrl"]
    url = sqs.create_queue(QueueName="logs")["QueueUrl"]
    for content in (pack.content, pack.content[:-1]):
        sqs.send_message(
            QueueUrl=url,
            MessageBody=pack.body.decode(),
            MessageAttributes={PACK_ATTRIBUTE: {"DataType": "Binary", "BinaryValue": content}},
        )
    router = Router()
    taken: list[Pack[dict[str, object]]] = []

    @router.handler("usage_log", Pack[dict[str, object]], batch=10, within_ms=10)
    async def write(batch: list[Received[Pack[dict[str, object]]]]) -> None:
        taken.extend(received.payload for received in batch)

    async def work() -> None:
        async with HttpSqsClient(broker.endpoint_url) as client:
            worker = Worker(
                client,
                [Queue("logs", dead_letter_queue="dead")],
                router,
                settings=WorkerSettings(wait_s=1),
            )
            running = asyncio.create_task(worker.run())
            [rejected] = await client.receive("dead", wait_s=20)
            attributes = rejected.message_attributes or {}
            assert attributes[PACK_ATTRIBUTE].binary_value == pack.content[:-1]
            assert any("damaged" in (each.string_value or "") for each in attributes.values())
            worker.stop()
            await running

    asyncio.run(work())
    [whole] = taken
    assert (whole.events, len(whole.records), whole.bad) == (4_500, 4_500, [])
    assert "Messages" not in sqs.receive_message(QueueUrl=dead_url)
    sqs.close()
