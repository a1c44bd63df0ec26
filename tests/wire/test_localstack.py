"""LocalStack's look at messages: what its users' tests ask for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.wire.http_conversation import HOST, Conversation, conversation, request, serving

LOOK = "/_aws/sqs/messages?QueueUrl=http://localhost:4566/000000000000/jobs"
PATH = "/_aws/sqs/messages/us-east-1/000000000000/jobs"


@pytest.fixture
async def client() -> AsyncIterator[Conversation]:
    """A client, and a queue with a message in flight, a visible one and a delayed one."""
    async with serving() as server, conversation(server) as client:
        for action, body in (
            ("CreateQueue", b'{"QueueName":"jobs"}'),
            ("SendMessage", b'{"QueueUrl":"jobs","MessageBody":"taken"}'),
            ("ReceiveMessage", b'{"QueueUrl":"jobs"}'),
            (
                "SendMessage",
                b'{"QueueUrl":"jobs","MessageBody":"seen","MessageAttributes":'
                b'{"n":{"DataType":"Number","StringValue":"1"}}}',
            ),
            ("SendMessage", b'{"QueueUrl":"jobs","MessageBody":"late","DelaySeconds":60}'),
        ):
            await client.say(request(action, body))
            assert (await client.hear()).startswith(b"HTTP/1.1 200")
        yield client


async def look(
    client: Conversation, target: str, accept: str = "application/json", form: str | None = None
) -> tuple[int, bytes]:
    method, body = ("GET", "") if form is None else ("POST", form)
    await client.say(
        f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nAccept: {accept}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    head, _, answer = (await client.hear()).partition(b"\r\n\r\n")
    return int(head.split()[1]), answer


async def messages(client: Conversation, target: str, form: str | None = None) -> Any:
    status, body = await look(client, target, form=form)
    assert status == 200
    return json.loads(body)["ReceiveMessageResponse"]["ReceiveMessageResult"]["Message"]


@pytest.mark.parametrize("target", [LOOK, PATH])
async def test_visible_messages_are_shown_and_not_received(
    client: Conversation, target: str
) -> None:
    for _ in range(2):
        # LocalStack makes its JSON of XML: a single message is no list.
        message = await messages(client, target)
        assert (message["Body"], message["ReceiptHandle"]) == ("seen", "SQS/BACKDOOR/ACCESS")
        attributes = {pair["Name"]: pair["Value"] for pair in message["Attribute"]}
        assert attributes["ApproximateReceiveCount"] == "0"
        assert (attributes["IsVisible"], attributes["IsDelayed"]) == ("true", "false")
        value = {"DataType": "Number", "StringValue": "1"}
        assert message["MessageAttribute"] == {"Name": "n", "Value": value}


@pytest.mark.parametrize(
    ("shown", "bodies"),
    [
        ("ShowInvisible=true", ["taken", "seen"]),
        ("ShowDelayed=True", ["seen", "late"]),
        ("ShowInvisible=true&ShowDelayed=true", ["taken", "seen", "late"]),
    ],
)
async def test_hidden_messages_are_shown_when_asked_for(
    client: Conversation, shown: str, bodies: list[str]
) -> None:
    for found in (
        await messages(client, f"{LOOK}&{shown}"),
        await messages(client, "/_aws/sqs/messages", f"QueueUrl=jobs&{shown}"),
    ):
        assert [message["Body"] for message in found] == bodies


async def test_the_answer_is_xml_unless_json_is_accepted(client: Conversation) -> None:
    status, body = await look(client, LOOK, "*/*")
    assert status == 200
    assert b"<ReceiveMessageResponse" in body
    assert b"<Body>seen</Body>" in body
    assert b"<Name>IsVisible</Name><Value>true</Value>" in body


async def test_an_sdk_may_receive_from_there(client: Conversation) -> None:
    body = b'{"QueueUrl":"http://h/000000000000/jobs","MaxNumberOfMessages":1}'
    await client.say(request("ReceiveMessage", body, path="/_aws/sqs/messages"))
    answer = json.loads((await client.hear()).partition(b"\r\n\r\n")[2])
    assert [message["Body"] for message in answer["Messages"]] == ["seen"]
    await client.say(request("SendMessage", body, path="/_aws/sqs/messages"))
    refusal = await client.hear()
    assert refusal.startswith(b"HTTP/1.1 400")
    assert b"This endpoint only accepts ReceiveMessage calls" in refusal


@pytest.mark.parametrize(
    "target",
    [
        "/_aws/sqs/messages",
        "/_aws/sqs/messages?QueueUrl=http://h/000000000000/nowhere",
        "/_aws/sqs/messages/us-east-1/000000000000/nowhere",
        "/_aws/sqs/messages/eu-west-1/000000000000/jobs",
        "/_aws/sqs/messages/us-east-1",
    ],
)
async def test_no_such_queue(client: Conversation, target: str) -> None:
    status, body = await look(client, target)
    assert status == 400
    code = json.loads(body)["ErrorResponse"]["Error"]["Code"]
    assert code == "AWS.SimpleQueueService.NonExistentQueue"


async def test_pages_of_other_sites_are_refused(client: Conversation) -> None:
    await client.say(
        f"GET {LOOK} HTTP/1.1\r\nHost: {HOST}\r\nSec-Fetch-Site: cross-site\r\n\r\n".encode()
    )
    assert (await client.hear()).startswith(b"HTTP/1.1 403")
