"""One HTTP/1.1 connection of a client: a request out, its answer in, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from forebay.protocol.awsjson import QUERY_ERROR_HEADER

#: Longest status line and headers together, in bytes. SQS's own take a few hundred.
HEAD_BYTES_MAX = 65_536

#: Longest body of an answer, in bytes: ten messages of 1 MiB, each character of which may take six
#: in JSON, twice over.
BODY_BYTES_MAX = 128 * 2**20

_QUERY_ERROR = QUERY_ERROR_HEADER.lower().encode()

#: The headers that say where a body ends. Without one it ends with the connection.
_FRAMING = (b"content-length", b"transfer-encoding")


class HttpAnswer(NamedTuple):
    """What a server answered."""

    status: int
    #: The header that names an error in the Query protocol's words.
    query_error: str | None
    body: bytes


class Disconnected(ConnectionError):
    """The server closed the connection in place of an answer."""

    def __init__(self, *, unanswered: bool) -> None:
        super().__init__("the server closed the connection in place of an answer")
        #: Whether not a byte of an answer had come.
        self.unanswered = unanswered


class NotHttp(ConnectionError):
    """What came is no answer of HTTP/1.1, or a larger one than can be taken."""


class Connection(asyncio.Protocol):
    """A connection. `ended` is called once, when it is lost or was closed."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ended: Callable[[Connection], None]
    ) -> None:
        self._loop = loop
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._query_error: str | None = None
        self._body: list[bytes] = []
        self._head_bytes = self._body_bytes = 0
        self._in_body = self._framed = False
        #: Whether another request can be sent.
        self.usable = False
        #: The loop's time when the last answer was whole, in seconds.
        self.idle_since_s = 0.0

    def ask(self, request: bytes, deadline_s: float) -> asyncio.Future[HttpAnswer]:
        """Send a request, and have its answer. Only while the connection is usable.

        The future raises Disconnected, NotHttp and, at this time of the loop's, TimeoutError.
        Whoever no longer waits for it must `abort`.
        """
        assert self._transport is not None
        self.usable = False
        self._begin_answer()
        self._head_bytes = 0
        self._answer = answer = self._loop.create_future()
        # A timer of our own: asyncio.timeout() takes a tenth of all that a call takes.
        self._timer = self._loop.call_at(deadline_s, self._time_out)
        self._transport.write(request)
        return answer

    def abort(self) -> None:
        """Close at once."""
        self.usable = False
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._answer is None:
            # Nothing was asked, so this belongs to no request of ours.
            self.abort()
            return
        if not self._in_body:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(NotHttp(f"what it says is no HTTP answer: {error}"))
            return
        if self._body_bytes > BODY_BYTES_MAX or (
            self._head_bytes > HEAD_BYTES_MAX and not self._in_body and self._answer is not None
        ):
            self._fail(NotHttp("its answer is too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._in_body and not self._framed and exc is None:
            self.on_message_complete()
        self._fail(Disconnected(unanswered=self._head_bytes == 0))
        # They refer to each other.
        self._parser = None
        self._ended(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _FRAMING:
            self._framed = True
        elif name == _QUERY_ERROR:
            self._query_error = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        parser, answer = self._parser, self._answer
        if parser is None or answer is None:
            # A second answer behind the first.
            self.abort()
            return
        status = parser.get_status_code()
        if status < 200:
            # An interim answer, such as 100 Continue: another one follows.
            self._begin_answer()
            return
        self._answer = None
        self._stop_timer()
        self._in_body = False
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if parser.should_keep_alive():
            self.usable = True
            self.idle_since_s = self._loop.time()
        else:
            self.abort()
        if not answer.done():
            answer.set_result(HttpAnswer(status, self._query_error, body))

    def _begin_answer(self) -> None:
        self._query_error = None
        self._body = []
        self._body_bytes = 0
        self._in_body = self._framed = False

    def _time_out(self) -> None:
        self._fail(TimeoutError("no answer"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, error: OSError) -> None:
        answer, self._answer = self._answer, None
        self.abort()
        if answer is not None and not answer.done():
            answer.set_exception(error)
