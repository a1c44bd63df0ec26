"""What the log says of requests."""

from __future__ import annotations

import logging

import pytest

from forebay.broker.request_log import Refusals
from forebay.protocol.errors import INCOMPLETE_SIGNATURE, INVALID_PARAMETER_VALUE, SqsError
from tests.wire.http_conversation import Conversation, conversation, request, serving

CREATE = request("CreateQueue", b'{"QueueName":"jobs"}')
NOWHERE = request(
    "SendMessage",
    b'{"QueueUrl":"nowhere","MessageBody":"a secret"}',
    headers="User-Agent: till/1\r\n",
)


@pytest.fixture(autouse=True)
def requests_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "forebay.requests")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "forebay.requests"]


async def ask(client: Conversation, *requests: bytes) -> None:
    for one in requests:
        await client.say(one)
        await client.hear()


async def test_a_refused_request_is_a_line_with_client_action_code_and_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as server, conversation(server) as client:
        await ask(client, CREATE, NOWHERE)
        assert lines(caplog) == [
            "Refused SendMessage from 127.0.0.1 (till/1):"
            " AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist."
        ]
    record = caplog.records[-1]
    assert vars(record)["client"] == "127.0.0.1"
    assert vars(record)["action"] == "SendMessage"
    assert "secret" not in caplog.text


async def test_alike_refusals_are_one_line_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, conversation(server) as client:
        await ask(client, *[NOWHERE] * 5)
        assert len(lines(caplog)) == 1
    assert lines(caplog)[1] == (
        "Refused SendMessage from 127.0.0.1 (till/1): AWS.SimpleQueueService.NonExistentQueue,"
        " 4 times more"
    )


async def test_a_flood_of_different_refusals_has_few_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as server, conversation(server) as client:
        for number in range(50):
            await ask(client, request("SendMessage", b"{}", headers=f"User-Agent: {number}\r\n"))
    assert len(lines(caplog)) == 21
    assert lines(caplog)[-1] == "Refused 30 other requests"


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 18\r\n\r\nAction=SendMessage",
            "Refused SendMessage from 127.0.0.1 (no User-Agent): MissingParameter",
        ),
        (
            b"GET /?Action=DeleteQueue&QueueUrl=nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "Refused DeleteQueue from 127.0.0.1",
        ),
        (
            b"GET /favicon.ico?token=secret HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "Refused GET /favicon.ico from 127.0.0.1",
        ),
        (request("Nonsense", b"{}"), "Refused Nonsense from 127.0.0.1"),
        (b"not HTTP at all\r\n\r\n", "Refused what is no request from 127.0.0.1"),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n"
            b"User-Agent: a\tb\x9b31m\xff\r\nContent-Length: 1\r\n\r\n{",
            "Refused ListQueues from 127.0.0.1 (a\\tb\\x9b31mÿ)",
        ),
    ],
)
async def test_every_refusal_says_what_was_asked_for_in_one_printable_line(
    sent: bytes, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server, conversation(server) as client:
        await ask(client, sent)
        (written,) = lines(caplog)
    assert line in written
    assert written.isprintable()
    assert "secret" not in written


async def test_unprintable_reasons_and_long_ones_are_one_short_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as server, conversation(server) as client:
        body = b'{"QueueName":"jobs","Attributes":{"a\\nERROR forged%b":"1"}}' % (b"x" * 5000)
        await ask(client, request("CreateQueue", body))
        (written,) = lines(caplog)
    assert written.isprintable()
    assert len(written) < 700


async def test_at_debug_every_request_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "forebay.requests")
    async with serving() as server, conversation(server) as client:
        poll = request("ReceiveMessage", b'{"QueueUrl":"jobs","WaitTimeSeconds":20}')
        await ask(client, CREATE)
        await client.say(poll)
        async with conversation(server) as other:
            send = request("SendMessage", b'{"QueueUrl":"jobs","MessageBody":"a secret"}')
            await ask(other, send)
        await client.hear()
        entries = b'[{"Id":"1","MessageBody":""},{"Id":"2","MessageBody":"a secret"}]'
        batch = b'{"QueueUrl":"jobs","Entries":%b}' % entries
        await ask(
            client,
            request("SendMessageBatch", batch),
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /?Action=GetQueueUrl&QueueName=jobs HTTP/1.1\r\nHost: localhost\r\n\r\n",
            NOWHERE,
        )
    written = [
        line.partition(" ms")[0].rpartition(",")[0] for line in lines(caplog) if " ms" in line
    ]
    assert written[0] == "CreateQueue jobs: 200"
    assert sorted(written[1:3]) == ["ReceiveMessage jobs: 200", "SendMessage jobs: 200"]
    assert written[3].startswith("SendMessageBatch jobs: 200, 1 entries failed, ")
    assert written[4:] == [
        "GET /health -: 200",
        "GetQueueUrl jobs: 200",
        "SendMessage nowhere: AWS.SimpleQueueService.NonExistentQueue",
    ]
    assert "secret" not in caplog.text


async def test_what_quotes_a_signature_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, conversation(server) as client:
        await ask(client, CREATE)
        exchange = next(iter(server._connections))._exchange(True)
        Refusals().note(exchange, SqsError(INCOMPLETE_SIGNATURE, "'a-token' is no key=value pair"))
        Refusals().note(exchange, SqsError(INVALID_PARAMETER_VALUE, log_detail="for the log"))
    assert "a-token" not in caplog.text
    assert "for the log" in caplog.text


async def test_the_value_of_an_attribute_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    attribute = b'"MessageAttributes":{"key":{"DataType":"Binary","BinaryValue":"a \'secret\'"}}'
    body = b'{"QueueUrl":"jobs","MessageBody":"hello",' + attribute + b"}"
    async with serving() as server, conversation(server) as client:
        await client.say(request("SendMessage", body))
        assert b"secret" in await client.hear(), "AWS quotes it"
    assert "secret" not in caplog.text
    assert "can not be converted to a Blob" in caplog.text
