"""A client that shuts down its writing side, as `printf … | nc -N` does, is still answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from forebay.broker import connection
from forebay.broker.server import HttpServer
from tests.wire.http_conversation import Conversation, conversation, request, serving

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CREATE = request("CreateQueue", b'{"QueueName":"jobs"}')
SEND = request("SendMessage", b'{"QueueUrl":"jobs","MessageBody":"hello"}')
POLL = request("ReceiveMessage", b'{"QueueUrl":"jobs","WaitTimeSeconds":20}')
LIST = request("ListQueues", b"{}")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpServer]:
    monkeypatch.setattr(connection, "_WATCH_S", 0.05)
    async with serving() as server, conversation(server) as client:
        await client.say(CREATE)
        await client.hear()
        yield server


@pytest.fixture
async def client(server: HttpServer) -> AsyncIterator[Conversation]:
    async with conversation(server) as client:
        yield client


@pytest.fixture
async def other(server: HttpServer) -> AsyncIterator[Conversation]:
    async with conversation(server) as client:
        yield client


async def test_every_request_that_came_before_is_answered(client: Conversation) -> None:
    await client.say(SEND + LIST + SEND)
    client.end()
    heard = await client.hear_end()
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert heard.count(b'"MessageId"') == 2


async def test_half_a_request_is_passed_over(client: Conversation) -> None:
    await client.say(LIST + SEND[:-1])
    client.end()
    heard = await client.hear_end()
    assert heard.count(b"HTTP/1.1") == 1
    assert b"QueueUrls" in heard


async def test_a_client_that_asked_nothing_is_let_go(client: Conversation) -> None:
    client.end()
    assert await client.hear_end() == b""


async def test_a_poll_goes_on_waiting_for_a_message(
    client: Conversation, other: Conversation
) -> None:
    await client.say(POLL)
    client.end()
    assert await client.hear() == CONTINUE
    await other.say(SEND)
    await other.hear()
    heard = await client.hear_end()
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close\r\n" in heard
    assert b'"Body":"hello"' in heard


async def test_a_poll_takes_what_comes_after_it_was_resumed(
    client: Conversation, other: Conversation
) -> None:
    await client.say(POLL)
    client.end()
    assert await client.hear() == CONTINUE
    heard = asyncio.create_task(client.hear_end())
    done, _ = await asyncio.wait([heard], timeout=0.2)
    assert not done
    await other.say(SEND)
    await other.hear()
    assert b'"Body":"hello"' in await heard


async def test_a_poll_is_answered_empty_when_the_broker_stops(
    server: HttpServer, client: Conversation
) -> None:
    await client.say(POLL)
    client.end()
    assert await client.hear() == CONTINUE
    heard = asyncio.create_task(client.hear_end())
    await asyncio.wait([heard], timeout=0.2)
    await server.stop()
    assert (await heard).endswith(b"\r\n\r\n{}")


async def test_a_poll_that_is_answered_already_is_answered_once(
    client: Conversation, other: Conversation
) -> None:
    await client.say(POLL)
    await other.say(SEND)
    await other.hear()
    client.end()
    heard = await client.hear_end()
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert b'"Body":"hello"' in heard


async def test_the_poll_of_a_client_that_is_gone_takes_no_message(
    server: HttpServer, other: Conversation
) -> None:
    for _ in range(20):
        async with conversation(server) as gone:
            await gone.say(POLL)
            await other.say(LIST)
            await other.hear()
        await asyncio.sleep(0)
        await other.say(SEND + POLL)
        await other.hear()
        assert b'"Body":"hello"' in await other.hear()


async def test_a_poll_of_http_1_0_ends_without_a_message(
    client: Conversation, other: Conversation
) -> None:
    await client.say(POLL.replace(b"HTTP/1.1", b"HTTP/1.0"))
    client.end()
    heard = await client.hear_end()
    assert heard.endswith(b"\r\n\r\n{}")
    assert b"100 Continue" not in heard
    await other.say(SEND + POLL)
    assert b"MessageId" in await other.hear()
    assert b'"Body":"hello"' in await other.hear()


async def test_the_query_protocol_is_answered_too(client: Conversation) -> None:
    await client.say(b"GET /?Action=ListQueues HTTP/1.1\r\nHost: sqs.test\r\n\r\n")
    client.end()
    heard = await client.hear_end()
    assert b"<ListQueuesResponse" in heard
