"""HTTP transcripts: bytes in, bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

from forebay.broker.broker import Broker
from forebay.broker.connection import HEAD_BYTES_MAX
from forebay.broker.server import HttpServer
from forebay.protocol.limits import REQUEST_BODY_BYTES_MAX
from tests.wire.http_conversation import (
    DATE,
    Conversation,
    answer,
    conversation,
    request,
    serving,
)

CREATE = request("CreateQueue", b'{"QueueName":"jobs"}')
CREATED = b'{"QueueUrl":"http://sqs.test/000000000000/jobs"}'
SEND = b'{"QueueUrl":"http://sqs.test/000000000000/jobs","MessageBody":"hello"}'
SENT = (
    b'{"MessageId":"00000000-0000-4000-8000-000000000000",'
    b'"MD5OfMessageBody":"5d41402abc4b2a76b9719d911017c592"}'
)
POLL = b'{"QueueUrl":"jobs","WaitTimeSeconds":20}'


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    async with serving() as server:
        yield server


@pytest.fixture
async def client(server: HttpServer) -> AsyncIterator[Conversation]:
    async with conversation(server) as client:
        yield client


async def test_one_connection_carries_many_requests(client: Conversation) -> None:
    await client.say(CREATE)
    assert await client.hear() == answer(1, CREATED)
    await client.say(request("SendMessage", SEND))
    assert await client.hear() == answer(2, SENT)
    await client.say(request("DeleteQueue", b'{"QueueUrl":"jobs"}'))
    assert await client.hear() == answer(3, b"{}")


async def test_a_request_may_come_in_pieces(client: Conversation) -> None:
    for byte in CREATE:
        await client.say(bytes([byte]))
        await asyncio.sleep(0)
    assert await client.hear() == answer(1, CREATED)


async def test_a_body_may_come_in_chunks(client: Conversation) -> None:
    await client.say(
        b"POST / HTTP/1.1\r\nHost: sqs.test\r\nX-Amz-Target: AmazonSQS.CreateQueue\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        b'7\r\n{"Queue\r\n0D\r\nName":"jobs"}\r\n0\r\n\r\n'
    )
    assert await client.hear() == answer(1, CREATED)


async def test_header_names_are_read_in_any_case(client: Conversation) -> None:
    await client.say(
        b"POST / HTTP/1.1\r\nhost: sqs.test\r\nx-amz-target: AmazonSQS.CreateQueue\r\n"
        b'content-length: 20\r\n\r\n{"QueueName":"jobs"}'
    )
    assert await client.hear() == answer(1, CREATED)


async def test_pipelined_requests_are_answered_in_order(client: Conversation) -> None:
    await client.say(CREATE + request("ReceiveMessage", POLL) + request("SendMessage", SEND))
    assert await client.hear() == answer(1, CREATED)
    polled = await client.hear()
    assert polled.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"Body":"hello"' in polled
    assert (await client.hear()).endswith(SENT)


async def test_a_client_that_expects_it_is_told_to_continue(client: Conversation) -> None:
    head, _, body = CREATE.partition(b"\r\n\r\n")
    await client.say(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert await client.hear() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.say(body)
    assert await client.hear() == answer(1, CREATED)


async def test_a_client_that_expects_it_is_spared_a_body_that_is_too_long(
    client: Conversation,
) -> None:
    await client.say(
        b"POST / HTTP/1.1\r\nHost: sqs.test\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n" % (REQUEST_BODY_BYTES_MAX + 1)
    )
    assert (await client.hear()).startswith(b"HTTP/1.1 413 ")
    assert await client.hear_end() == b""


TOO_LONG = answer(
    1,
    b'{"__type":"com.amazonaws.sqs#RequestEntityTooLarge","message":"The request\'s body is longer'
    b' than 8388608 bytes. A message has at most 1048576."}',
    # The phrase is Python's, and RFC 9110 has changed it.
    status=f"413 {HTTPStatus(413).phrase}",
    error="RequestEntityTooLarge;Sender",
    close=True,
)


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(client: Conversation) -> None:
    await client.say(
        b"POST / HTTP/1.1\r\nHost: sqs.test\r\nContent-Length: %d\r\n\r\n"
        % (REQUEST_BODY_BYTES_MAX + 1)
    )
    assert await client.hear_end() == TOO_LONG


async def test_a_chunked_body_is_refused_where_it_becomes_too_long(client: Conversation) -> None:
    await client.say(
        b"POST / HTTP/1.1\r\nHost: sqs.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n1\r\nx\r\n" % (REQUEST_BODY_BYTES_MAX, b"x" * REQUEST_BODY_BYTES_MAX)
    )
    assert await client.hear_end() == TOO_LONG


async def test_the_longest_body_is_read(client: Conversation) -> None:
    padding = b" " * (REQUEST_BODY_BYTES_MAX - 20)
    await client.say(request("CreateQueue", b'{"QueueName":"jobs"}' + padding))
    assert await client.hear() == answer(1, CREATED)


async def test_endless_headers_are_refused(client: Conversation) -> None:
    await client.say(b"POST / HTTP/1.1\r\nHost: sqs.test\r\n")
    try:
        for number in range(20):
            await client.say(b"X-%d: %b\r\n" % (number, b"x" * (HEAD_BYTES_MAX // 10)))
            await asyncio.sleep(0)
    except ConnectionError:
        pytest.fail("The connection was cut before the answer could be read")
    refusal = await client.hear_end()
    assert refusal.startswith(b"HTTP/1.1 413 ")
    assert b"headers are longer than 65536 bytes" in refusal


async def test_what_is_not_http_is_refused_and_the_connection_closed(
    client: Conversation,
) -> None:
    await client.say(b"EHLO sqs.test\r\n\r\n")
    refusal = await client.hear_end()
    assert refusal.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in refusal
    assert b"The request is not HTTP/1.1" in refusal


async def test_what_was_asked_before_nonsense_is_answered_first(client: Conversation) -> None:
    await client.say(CREATE + b"\0nonsense\r\n\r\n")
    assert (await client.hear()).endswith(CREATED)
    assert (await client.hear_end()).startswith(b"HTTP/1.1 400 ")


async def test_a_client_that_says_close_is_closed(client: Conversation) -> None:
    await client.say(
        request("CreateQueue", b'{"QueueName":"jobs"}', headers="Connection: close\r\n")
    )
    assert await client.hear_end() == answer(1, CREATED, close=True)


async def test_http_1_0_is_answered_and_closed(client: Conversation) -> None:
    await client.say(CREATE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert await client.hear_end() == answer(1, CREATED, close=True)


@pytest.mark.parametrize(
    "upgrade",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
        "Upgrade: h2c\r\n",
    ],
)
async def test_an_offer_to_upgrade_is_ignored(client: Conversation, upgrade: str) -> None:
    await client.say(request("CreateQueue", b'{"QueueName":"jobs"}', headers=upgrade))
    assert await client.hear() == answer(1, CREATED)
    await client.say(request("SendMessage", SEND))
    assert await client.hear() == answer(2, SENT)


async def test_a_proxy_request_is_refused_and_the_connection_closed(client: Conversation) -> None:
    await client.say(b"CONNECT sqs.test:443 HTTP/1.1\r\nHost: sqs.test:443\r\n\r\n\x16\x03")
    assert (await client.hear()).startswith(b"HTTP/1.1 404 ")
    assert await client.hear_end() == b""


async def test_malformed_json_is_a_serialization_exception(client: Conversation) -> None:
    await client.say(request("CreateQueue", b'{"QueueName":'))
    assert await client.hear() == answer(
        1,
        b'{"__type":"com.amazonaws.sqs#SerializationException","message":'
        b'"The request\'s body is not JSON: it ends too early, or has half of a surrogate pair."}',
        status="400 Bad Request",
        error="MalformedInput;Sender",
    )
    await client.say(CREATE)
    assert await client.hear() == answer(2, CREATED)


async def test_a_missing_member_is_named(client: Conversation) -> None:
    await client.say(request("SendMessage", b'{"QueueUrl":"jobs"}'))
    assert await client.hear() == answer(
        1,
        b'{"__type":"com.amazonaws.sqs#MissingRequiredParameterException","message":'
        b'"The request must contain the parameter MessageBody."}',
        status="400 Bad Request",
        error="MissingParameter;Sender",
    )


async def test_a_missing_queue_has_both_its_names(client: Conversation) -> None:
    await client.say(request("SendMessage", SEND))
    assert await client.hear() == answer(
        1,
        b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist",'
        b'"message":"The specified queue does not exist."}',
        status="400 Bad Request",
        error="AWS.SimpleQueueService.NonExistentQueue;Sender",
    )


async def test_an_unknown_action_is_answered_with_those_that_are_known(
    client: Conversation,
) -> None:
    await client.say(request("SendMassage", SEND))
    refusal = await client.hear()
    assert refusal.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"\r\nx-amzn-query-error: UnknownOperationException;Sender\r\n" in refusal
    assert b"The action AmazonSQS.SendMassage is not known here." in refusal
    assert b" SendMessage," in refusal


async def test_health_tells_how_the_broker_is(client: Conversation) -> None:
    await client.say(b"GET /health HTTP/1.1\r\nHost: sqs.test\r\n\r\n")
    assert (
        await client.hear()
        == (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {DATE}\r\n"
            "x-amzn-RequestId: 00000000-0000-4000-8000-000000000001\r\n"
            'Content-Length: 49\r\n\r\n{"status":"ok","durability":"memory","alarms":[]}'
        ).encode()
    )


async def test_the_path_names_the_account_and_the_host_the_endpoint(client: Conversation) -> None:
    await client.say(request("CreateQueue", b'{"QueueName":"jobs"}', path="/123456789012/any"))
    url = b'{"QueueUrl":"http://sqs.test/123456789012/jobs"}'
    assert await client.hear() == answer(1, url)
    await client.say(request("GetQueueUrl", b'{"QueueName":"jobs"}'))
    assert (await client.hear()).startswith(b"HTTP/1.1 400 ")
    await client.say(request("GetQueueUrl", b'{"QueueName":"jobs"}', path="/123456789012/jobs"))
    assert await client.hear() == answer(3, url)


@pytest.mark.parametrize(
    ("authorization", "region"),
    [
        ("AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/sqs/aws4_request, Sig", "eu-west-1"),
        ("AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host", "us-east-1"),
        ("Bearer what/ever", "us-east-1"),
        ("", "us-east-1"),
    ],
)
async def test_the_credential_scope_names_the_region(
    client: Conversation, authorization: str, region: str
) -> None:
    header = f"Authorization: {authorization}\r\n" if authorization else ""
    await client.say(request("CreateQueue", b'{"QueueName":"jobs"}', headers=header))
    await client.hear()
    attributes = b'{"QueueUrl":"jobs","AttributeNames":["QueueArn"]}'
    await client.say(request("GetQueueAttributes", attributes, headers=header))
    arn = f'{{"Attributes":{{"QueueArn":"arn:aws:sqs:{region}:000000000000:jobs"}}}}'
    assert await client.hear() == answer(2, arn.encode())


async def test_the_poll_of_a_client_that_left_takes_no_message(
    server: HttpServer, client: Conversation
) -> None:
    await client.say(CREATE)
    await client.hear()
    async with conversation(server) as leaving:
        await leaving.say(request("ReceiveMessage", POLL) + request("ListQueues", b"{}"))
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    await client.say(request("SendMessage", SEND) + request("ReceiveMessage", POLL))
    await client.hear()
    assert b'"Body":"hello"' in await client.hear()


async def test_an_error_of_our_own_is_internal_failure_and_the_connection_goes_on(
    client: Conversation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Broker, "submit", lambda *_: 1 // 0)
        await client.say(CREATE)
        refusal = await client.hear()
    assert refusal.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"\r\nx-amzn-query-error: InternalFailure;Receiver\r\n" in refusal
    assert "ZeroDivisionError" in caplog.text
    await client.say(CREATE)
    assert await client.hear() == answer(2, CREATED)


async def test_stopping_answers_waiting_polls_empty_and_closes(server: HttpServer) -> None:
    async with conversation(server) as polling, conversation(server) as idle:
        await polling.say(CREATE + request("ReceiveMessage", POLL))
        await polling.hear()
        await idle.say(request("ListQueues", b"{}"))
        await idle.hear()
        stopping = asyncio.create_task(server.stop())
        assert await polling.hear_end() == answer(3, b"{}", close=True)
        assert await idle.hear_end() == b""
        await stopping
