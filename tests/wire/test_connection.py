"""A connection in memory: what it does to its transport when the client is slow or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from forebay.broker.connection import Exchange, HttpConnection
from forebay.broker.head import Head, RememberedHeads
from forebay.broker.http import Answers
from forebay.broker.listener import IDLE_S
from forebay.broker.polls import ParkedPoll
from forebay.protocol.actions import EmptyResult
from forebay.protocol.errors import SqsError
from tests.runtime.virtual_time import run
from tests.wire.http_conversation import conversation, request, serving

REQUEST = request("PurgeQueue", b'{"QueueUrl":"jobs"}')


class Transport(asyncio.Transport):
    """Keeps what is written and whether anybody reads."""

    def __init__(self, extra: dict[str, object] | None = None) -> None:
        super().__init__(extra)
        self.written = b""
        self.reading = True
        self.closings = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closings += 1


class Service:
    """Takes requests and answers none by itself."""

    stopping = False

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def handle(self, exchange: Exchange, head: Head, body: bytes) -> None:
        self.exchanges.append(exchange)

    def refused(self, exchange: Exchange, error: SqsError) -> None: ...

    def address(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None: ...

    def abandon(self, poll: ParkedPoll) -> bool:
        return False

    def resume(self, poll: ParkedPoll) -> None: ...

    def opened(self, connection: HttpConnection) -> None: ...

    def closed(self, connection: HttpConnection) -> None: ...


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def connection(service: Service, transport: Transport) -> HttpConnection:
    answers = Answers(bytes(16))
    answers.set_date(0)
    connection = HttpConnection(service, answers, RememberedHeads())
    connection.connection_made(transport)
    return connection


def test_reading_pauses_while_the_client_does_not_read(
    connection: HttpConnection, transport: Transport
) -> None:
    connection.pause_writing()
    assert not transport.reading
    connection.resume_writing()
    assert transport.reading


def test_reading_pauses_while_many_requests_are_unanswered(
    connection: HttpConnection, transport: Transport, service: Service
) -> None:
    for unanswered in range(1, 17):
        connection.data_received(REQUEST)
        assert transport.reading == (unanswered < 16)
    service.exchanges[0].reply(EmptyResult())
    assert transport.reading


def test_reading_stays_paused_while_either_reason_lasts(
    connection: HttpConnection, transport: Transport, service: Service
) -> None:
    connection.data_received(REQUEST * 16)
    connection.pause_writing()
    service.exchanges[0].reply(EmptyResult())
    assert not transport.reading
    connection.data_received(REQUEST)
    connection.resume_writing()
    assert not transport.reading
    service.exchanges[1].reply(EmptyResult())
    assert transport.reading


def test_an_early_answer_waits_for_its_turn(
    connection: HttpConnection, transport: Transport, service: Service
) -> None:
    connection.data_received(REQUEST * 2)
    service.exchanges[1].respond(b"second")
    assert transport.written == b""
    service.exchanges[0].respond(b"first ")
    assert transport.written == b"first second"


def test_closing_waits_for_the_answers_that_are_owed(
    connection: HttpConnection, transport: Transport, service: Service
) -> None:
    connection.data_received(REQUEST * 2)
    connection.close()
    service.exchanges[0].respond(b"first ")
    assert transport.closings == 0
    service.exchanges[1].respond(b"second")
    assert transport.closings == 1
    assert transport.written == b"first second"


def test_an_answer_for_a_client_that_left_is_dropped(
    connection: HttpConnection, transport: Transport, service: Service
) -> None:
    connection.data_received(REQUEST)
    connection.connection_lost(None)
    service.exchanges[0].reply(EmptyResult())
    assert transport.written == b""


def test_a_client_that_ends_its_side_is_kept_while_it_is_owed_an_answer(
    connection: HttpConnection, transport: Transport, service: Service
) -> None:
    assert not connection.eof_received()
    connection.data_received(REQUEST)
    assert connection.eof_received()
    service.exchanges[0].respond(b"answer")
    assert transport.written == b"answer"
    assert transport.closings == 1


def test_a_tls_client_that_ends_its_side_is_gone(service: Service) -> None:
    connection = HttpConnection(service, Answers(bytes(16)), RememberedHeads())
    connection.connection_made(Transport({"sslcontext": "any"}))
    connection.data_received(REQUEST)
    assert not connection.eof_received()


def test_an_idle_connection_is_closed_and_a_waiting_one_is_not() -> None:
    async def story() -> None:
        async with (
            serving() as server,
            conversation(server) as idle,
            conversation(server) as waiting,
        ):
            await waiting.say(request("CreateQueue", b'{"QueueName":"jobs"}'))
            await waiting.hear()
            poll = b'{"QueueUrl":"jobs","WaitTimeSeconds":20}'
            await waiting.say(request("ReceiveMessage", poll))
            started_s = asyncio.get_running_loop().time()
            assert await idle.hear_end() == b""
            idle_s = asyncio.get_running_loop().time() - started_s
            assert IDLE_S < idle_s <= IDLE_S + 30
            await server.stop()
            assert (await waiting.hear()).endswith(b"{}")

    run(story())
