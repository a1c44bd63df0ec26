"""The Query protocol at the endpoint: forms, presigned GETs and answers in XML."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.wire.http_conversation import Conversation, conversation, request, serving


@pytest.fixture
async def client() -> AsyncIterator[Conversation]:
    async with serving() as server, conversation(server) as client:
        await client.say(request("CreateQueue", b'{"QueueName":"jobs"}'))
        await client.hear()
        yield client


def get(target: str, headers: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: sqs.test\r\n{headers}\r\n".encode()


def post(form: str, path: str = "/") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: sqs.test\r\nContent-Length: {len(form)}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
    ).encode()


async def test_a_form_sends_and_a_get_on_the_queue_receives(client: Conversation) -> None:
    await client.say(post("Action=SendMessage&QueueUrl=http%3A%2F%2Fx%2Fjobs&MessageBody=a%26b"))
    sent = await client.hear()
    assert sent.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n")
    assert b"<SendMessageResponse" in sent
    await client.say(
        get(
            "/000000000000/jobs?Action=ReceiveMessage&AttributeName.1=All",
            "Authorization: any\r\n",
        )
    )
    received = await client.hear()
    assert b"<Body>a&amp;b</Body>" in received
    assert b"<Name>ApproximateReceiveCount</Name><Value>1</Value>" in received


async def test_the_request_id_in_the_body_is_the_one_in_the_header(client: Conversation) -> None:
    for _ in range(2):
        await client.say(post("Action=ListQueues"))
        head, _, body = (await client.hear()).partition(b"\r\n\r\n")
        [request_id] = [line[18:] for line in head.split(b"\r\n") if line.startswith(b"x-amzn-R")]
        assert b"<RequestId>%b</RequestId>" % request_id in body


async def test_a_client_that_accepts_json_gets_the_older_json(client: Conversation) -> None:
    await client.say(get("/?Action=ListQueues", "Accept: application/json\r\n"))
    answer = await client.hear()
    assert b"Content-Type: application/json" in answer
    assert b'"ListQueuesResult"' in answer


@pytest.mark.parametrize(
    ("text", "status", "content"),
    [
        (get("/"), b"404", b"<UnknownOperationException/>"),
        (get("/000000000000/jobs?Action=ListQueues"), b"400", b"<Code>InvalidAction</Code>"),
        (post("Action=SendMessage&QueueUrl=jobs"), b"400", b"<Code>MissingParameter</Code>"),
        (
            post("Action=ReceiveMessage&QueueUrl=nowhere"),
            b"400",
            b"The specified queue does not exist for this wsdl version.",
        ),
        (post("Action=ReceiveMessage&QueueUrl=http://[x/1/q"), b"400", b"NonExistentQueue"),
    ],
)
async def test_refusals_are_xml(
    client: Conversation, text: bytes, status: bytes, content: bytes
) -> None:
    await client.say(text)
    refusal = await client.hear()
    assert refusal.startswith(b"HTTP/1.1 " + status)
    assert content in refusal


async def test_a_trace_header_becomes_the_messages_own(client: Conversation) -> None:
    body = b'{"QueueUrl":"jobs","MessageBody":"a"}'
    await client.say(request("SendMessage", body, headers="X-Amzn-Trace-Id: Root=1-2\r\n"))
    await client.hear()
    await client.say(
        request("ReceiveMessage", b'{"QueueUrl":"jobs","AttributeNames":["AWSTraceHeader"]}')
    )
    assert b'"AWSTraceHeader":"Root=1-2"' in await client.hear()
