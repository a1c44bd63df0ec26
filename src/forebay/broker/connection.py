"""One HTTP/1.1 connection: bytes in, requests out; answers in, bytes out in the order asked."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from socket import SO_ERROR, SOL_SOCKET
from typing import Protocol, cast

import httptools

from forebay.broker.head import Head, RememberedHeads
from forebay.broker.http import CONTINUE, Answers, with_headers
from forebay.broker.polls import Answer, ParkedPoll
from forebay.protocol import errors
from forebay.protocol.actions import ReceiveMessageResult
from forebay.protocol.awsquery import QueryCall
from forebay.protocol.errors import SqsError
from forebay.protocol.limits import REQUEST_BODY_BYTES_MAX

#: Longest request line and headers together, in bytes, counted when they take several reads.
HEAD_BYTES_MAX = 65_536

#: Requests of one connection that may wait for their answers before reading pauses.
_PIPELINED_MAX = 16

#: How long a refused client may go on sending before the connection is cut, in seconds. Cutting at
#: once would destroy the answer that it has not read yet.
_LINGER_S = 2.0

#: How long a client that has shut down its side is watched before its polls go on waiting, in
#: seconds: longer than the way to it and back.
_WATCH_S = 0.5

_log = logging.getLogger(__name__)


class Exchange:
    """A request and, when it is there, its answer."""

    __slots__ = ("action", "connection", "head", "keep_alive", "lines", "poll", "query", "response")

    def __init__(
        self, connection: HttpConnection, keep_alive: bool, head: Head | None = None
    ) -> None:
        self.connection = connection
        self.keep_alive = keep_alive
        #: None where nothing could be read.
        self.head = head
        #: What is asked for, where the head does not say it.
        self.action = ""
        #: What waits in the broker, if the request is a poll that waits.
        self.poll: ParkedPoll | None = None
        #: How the answer is written when the request is not AWS JSON.
        self.query: QueryCall | None = None
        #: Header lines that let a web page read the answer.
        self.lines = b""
        self.response: bytes | None = None

    def reply(self, answer: Answer) -> None:
        """Answer the request."""
        connection = self.connection
        if isinstance(answer, SqsError):
            connection.refused(self, answer)
        if self.query is None:
            response = connection.answers.answer(answer, self.keep_alive)
        else:
            response = connection.answers.query_answer(self.query, answer, self.keep_alive)
        self.response = with_headers(response, self.lines) if self.lines else response
        connection.flush()

    def respond(self, response: bytes) -> None:
        """Answer the request with bytes that are a whole response."""
        self.response = with_headers(response, self.lines) if self.lines else response
        self.connection.flush()


class Service(Protocol):
    """What a connection hands its requests to."""

    @property
    def stopping(self) -> bool:
        """Whether connections close after the answers that they owe."""
        ...

    def handle(self, exchange: Exchange, head: Head, body: bytes) -> None:
        """Answer a request, now or later."""
        ...

    def refused(self, exchange: Exchange, error: SqsError) -> None:
        """A request is about to be answered with an error."""
        ...

    def address(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        """Have the page that asks be able to read the refusal of what is not handled."""
        ...

    def abandon(self, poll: ParkedPoll) -> bool:
        """The client of a poll is gone. Answers whether the poll was still waiting."""
        ...

    def resume(self, poll: ParkedPoll) -> ParkedPoll | None:
        """The client of an abandoned poll is there after all. Answers the poll if it waits."""
        ...

    def opened(self, connection: HttpConnection) -> None: ...

    def closed(self, connection: HttpConnection) -> None: ...


class HttpConnection(asyncio.Protocol):
    """Parses requests and writes their answers in order.

    What cannot be a request is answered with an error, and the connection closes: after bytes that
    are not HTTP nobody can tell where the next request begins. Reading pauses while the client does
    not read its answers or has many requests unanswered, so that a connection has a bounded claim
    on memory.
    """

    def __init__(self, service: Service, answers: Answers, heads: RememberedHeads) -> None:
        self.answers = answers
        #: How many checks for idleness this connection has been idle for.
        self.idle_checks = 0
        self._service = service
        #: What is told of refused requests.
        self.refused = service.refused
        self._heads = heads
        self._exchanges: deque[Exchange] = deque()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._in_head = False
        #: Whether the next byte begins a request.
        self._between_requests = True
        #: The requests that the latest bytes completed.
        self._completed: list[Head] = []
        self._refused = False
        self._writing_paused = False
        self._reading_paused = False

    @property
    def peer_ip(self) -> str | None:
        """The client's address; None when there is none."""
        peer = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(peer[0]) if peer else None

    @property
    def idle(self) -> bool:
        """Whether nothing happens here but waiting for the client."""
        return not self._exchanges or self._writing_paused

    def close(self) -> None:
        """Close once the answers that are owed have left."""
        if self._exchanges:
            self._exchanges[-1].keep_alive = False
        elif self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()

    def flush(self) -> None:
        """Write every answer whose turn has come."""
        exchanges, transport = self._exchanges, self._transport
        if transport is None:
            return
        while exchanges and (response := exchanges[0].response) is not None:
            exchange = exchanges.popleft()
            transport.write(response)
            if not exchange.keep_alive:
                self._finish(transport)
                return
        if self._reading_paused:
            self._resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface, not the base class.
        self._transport = cast(asyncio.Transport, transport)
        self._service.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._transport = None
        for exchange in self._exchanges:
            if exchange.poll is not None:
                self._service.abandon(exchange.poll)
        self._exchanges.clear()
        self._service.closed(self)

    def eof_received(self) -> bool:
        """Keep the connection while answers are owed: the client may be there to read them.

        A client that has shut down its writing side looks like one that is gone, and a poll of one
        that is gone must take no message. So its polls are suspended and it is sent an interim
        answer, which HTTP/1.1 allows at any time: the host of one that is gone resets the
        connection. HTTP/1.0 has no interim answers; its polls end at once, without messages. A
        TLS connection cannot be shut down on one side alone.
        """
        transport = self._transport
        if transport is None or not self._exchanges or transport.get_extra_info("sslcontext"):
            return False
        self._exchanges[-1].keep_alive = False
        suspended = [
            exchange
            for exchange in self._exchanges
            if exchange.poll is not None and self._service.abandon(exchange.poll)
        ]
        if self._parser.get_http_version() == "1.0":
            for exchange in suspended:
                exchange.reply(ReceiveMessageResult())
        elif suspended:
            transport.write(CONTINUE)
            if _is_reset(transport):
                return False
            asyncio.get_running_loop().call_later(_WATCH_S, self._resume, suspended)
        return True

    def _resume(self, suspended: list[Exchange]) -> None:
        """Let polls go on waiting unless the client turned out to be gone."""
        transport = self._transport
        if transport is None:
            return
        if _is_reset(transport):
            transport.abort()
            return
        for exchange in suspended:
            if exchange.poll is not None:
                exchange.poll = self._service.resume(exchange.poll)

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._pause_reading()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.idle_checks = 0
        self._resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self._between_requests:
            self._parse(data)
        elif (known := self._heads.find(data)) is not None:
            head, end = known
            self._take(head, data[end:])
        else:
            self._completed.clear()
            self._parse(data)
            self._remember(data)

    def _remember(self, data: bytes) -> None:
        """Remember the head of what was just parsed, if it is one request and no more."""
        if self._between_requests and len(self._completed) == 1:
            self._heads.remember(data, self._completed[0])

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(
                SqsError(errors.SERIALIZATION_EXCEPTION, f"The request is not HTTP/1.1: {error}")
            )
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(
                    SqsError(
                        errors.REQUEST_ENTITY_TOO_LARGE,
                        f"The request's headers are longer than {HEAD_BYTES_MAX} bytes.",
                    )
                )

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._in_head = True
        self._between_requests = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if int(self._headers.get(b"content-length", 0)) > REQUEST_BODY_BYTES_MAX:
            self._refuse_body()
        elif b"expect" in self._headers:
            self._exchange(True).respond(CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > REQUEST_BODY_BYTES_MAX:
            self._refuse_body()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        parser, headers, body = self._parser, self._headers, self._body
        if self._refused or (b"upgrade" in headers and parser.should_upgrade()):
            return
        keep_alive = parser.should_keep_alive()
        if b"connection" in headers and parser.get_http_version() == "1.0":
            # Such a client believes in keep-alive only where the answer promises it; none does.
            keep_alive = False
        head = Head(parser.get_method(), self._url, headers, keep_alive, self._body_bytes)
        self._between_requests = True
        self._completed.append(head)
        self._take(head, body[0] if len(body) == 1 else b"".join(body))

    def _take(self, head: Head, body: bytes) -> None:
        """Have a request answered."""
        self.idle_checks = 0
        service = self._service
        exchange = Exchange(self, head.keep_alive and not service.stopping, head)
        self._exchanges.append(exchange)
        try:
            service.handle(exchange, head, body)
        except Exception:
            _log.exception("A request failed")
            exchange.reply(SqsError(errors.INTERNAL_FAILURE))
        if len(self._exchanges) >= _PIPELINED_MAX:
            self._pause_reading()

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the latest request as if the client had offered no other protocol.

        Java offers HTTP/2 so. A server may ignore the offer, but the parser stops at it.
        """
        if b"upgrade" not in self._headers:  # It is a CONNECT: what follows is no HTTP.
            self._refused = True
            self.close()
            return
        lines = [
            b"%b: %b\r\n" % header
            for header in self._headers.items()
            if header[0] not in {b"connection", b"expect", b"upgrade"}
        ]
        request_line = b"%b %b HTTP/1.1\r\n" % (self._parser.get_method(), self._url)
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([request_line, *lines, b"\r\n", rest]))

    def _exchange(self, keep_alive: bool) -> Exchange:
        exchange = Exchange(self, keep_alive)
        self._exchanges.append(exchange)
        return exchange

    def _refuse(self, error: SqsError) -> None:
        """Answer what cannot be read any further, behind the answers that are owed."""
        if not self._refused:
            self._refused = True
            exchange = self._exchange(False)
            self._service.address(exchange, self._headers)
            exchange.reply(error)

    def _refuse_body(self) -> None:
        self._refuse(
            SqsError(
                errors.REQUEST_ENTITY_TOO_LARGE,
                f"The request's body is longer than {REQUEST_BODY_BYTES_MAX} bytes."
                " A message has at most 1048576.",
            )
        )

    def _finish(self, transport: asyncio.Transport) -> None:
        self._exchanges.clear()
        if self._refused:
            transport.write_eof()
            asyncio.get_running_loop().call_later(_LINGER_S, transport.abort)
        else:
            self._refused = True
            transport.close()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if (
            self._transport is not None
            and self._reading_paused
            and not self._writing_paused
            and len(self._exchanges) < _PIPELINED_MAX
        ):
            self._reading_paused = False
            self._transport.resume_reading()


def _is_reset(transport: asyncio.Transport) -> bool:
    """Whether the other host has said that nobody is there to read. It is said once."""
    connection = transport.get_extra_info("socket")
    return connection is not None and connection.getsockopt(SOL_SOCKET, SO_ERROR) != 0
