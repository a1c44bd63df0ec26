"""What the log says of requests: a line for those that are refused, and every one if asked to.

Lines name the client by its address and its User-Agent, and never hold a body or a signature. What
clients wrote is shortened, and what is no printable text in it is escaped: a line stays one line.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from time import perf_counter
from typing import NamedTuple

import msgspec
from msgspec import Struct

from forebay.broker.connection import Exchange, HttpConnection, Service
from forebay.broker.head import Head
from forebay.broker.polls import Answer, ParkedPoll
from forebay.protocol.awsjson import TARGET_HEADER
from forebay.protocol.errors import INCOMPLETE_SIGNATURE, SqsError
from forebay.protocol.identifiers import queue_key_from_arn, queue_key_from_url

#: How long a line stands for all refusals like it, in seconds.
REFUSALS_TOGETHER_S = 10

#: Different refusals in that time that get a line; what is beyond is only counted.
_LINES_MAX = 20

#: The longest text of a client in a line, in characters.
_TEXT_MAX = 120

#: The longest reason in a line, in characters.
_REASON_MAX = 400

#: AWS's words quote what is no Base64, which may be the value of a message's attribute.
_QUOTED_VALUE = re.compile(r"^'.*' (?=can not be converted to a Blob: )", re.DOTALL)

_TARGET = TARGET_HEADER.lower().encode()

_log = logging.getLogger("forebay.requests")


class _Kind(NamedTuple):
    """Refusals that are alike."""

    client: str
    user_agent: str
    action: str
    code: str


class Refusals:
    """Logs refused requests, each kind of them once until `sum_up` counts what came after."""

    def __init__(self) -> None:
        self._more: dict[_Kind, int] = {}
        self._others = 0

    def note(self, exchange: Exchange, error: SqsError) -> None:
        """A request was refused."""
        head = exchange.head
        kind = _Kind(
            _client(exchange), _user_agent(head), exchange.action or _action(head), error.code
        )
        if kind in self._more:
            self._more[kind] += 1
        elif len(self._more) >= _LINES_MAX:
            self._others += 1
        else:
            self._more[kind] = 0
            # What is wrong with a signature is told by quoting it, and a token may stand there.
            quotes = error.fault is INCOMPLETE_SIGNATURE
            message = error.fault.text if quotes else _QUOTED_VALUE.sub("", error.message)
            reason = " ".join(filter(None, (message, error.log_detail)))
            _log.info(
                "Refused %s from %s (%s): %s: %s",
                *(kind.action, kind.client, kind.user_agent, kind.code),
                _printable(reason, _REASON_MAX),
                extra=kind._asdict(),
            )

    def sum_up(self) -> None:
        """Say how many more were refused, and begin anew."""
        for kind, count in self._more.items():
            if count:
                _log.info(
                    "Refused %s from %s (%s): %s, %s more",
                    *(kind.action, kind.client, kind.user_agent, kind.code),
                    "once" if count == 1 else f"{count} times",
                    extra={**kind._asdict(), "count": count},
                )
        if self._others:
            _log.info("Refused %d other requests", self._others, extra={"count": self._others})
        self._more.clear()
        self._others = 0


def logs_every_request() -> bool:
    """Whether there is a line for every request."""
    return _log.isEnabledFor(logging.DEBUG)


class RequestLog:
    """A service that hands its requests to another, and writes a line when they are answered."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def stopping(self) -> bool:
        return self._service.stopping

    def handle(self, exchange: Exchange, head: Head, body: bytes) -> None:
        inner = _LoggedExchange(exchange, head, body)
        self._service.handle(inner, head, body)
        exchange.poll = inner.poll

    def refused(self, exchange: Exchange, error: SqsError) -> None:
        self._service.refused(exchange, error)

    def address(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        self._service.address(exchange, headers)

    def abandon(self, poll: ParkedPoll) -> bool:
        return self._service.abandon(poll)

    def resume(self, poll: ParkedPoll) -> ParkedPoll | None:
        return self._service.resume(poll)

    def opened(self, connection: HttpConnection) -> None:
        self._service.opened(connection)

    def closed(self, connection: HttpConnection) -> None:
        self._service.closed(connection)


class _LoggedExchange(Exchange):
    """Stands for a connection's exchange, and logs the answer."""

    __slots__ = ("_outer", "_queue", "_started_s")

    def __init__(self, outer: Exchange, head: Head, body: bytes) -> None:
        super().__init__(outer.connection, outer.keep_alive, head)
        self._outer = outer
        self._queue = _queue(body)
        self._started_s = perf_counter()

    def reply(self, answer: Answer) -> None:
        self._outer.query = self.query
        self._outer.lines = self.lines
        self._outer.action = self.action
        self._outer.reply(answer)
        failed = getattr(answer, "failed", None)
        code = answer.code if isinstance(answer, SqsError) else "200"
        if failed:
            code = f"200, {len(failed)} entries failed, {failed[0].code}"
        self._write(code)

    def respond(self, response: bytes) -> None:
        self._outer.lines = self.lines
        self._outer.respond(response)
        self._write(response[9:12].decode("latin-1"))

    def _write(self, code: str) -> None:
        head = self.head
        client, user_agent = _client(self), _user_agent(head)
        action = self.action or _action(head)
        queue = self._queue or (self.query is not None and _queue_of(self.query.request)) or "-"
        duration_ms = round((perf_counter() - self._started_s) * 1000, 3)
        _log.debug(
            "%s %s: %s, %.1f ms, %s (%s)",
            *(action, queue, code, duration_ms, client, user_agent),
            extra={
                "client": client,
                "user_agent": user_agent,
                "action": action,
                "queue": queue,
                "code": code,
                "duration_ms": duration_ms,
            },
        )


class _Named(Struct, rename="pascal"):
    """What may name the queue of a request."""

    queue_url: str = ""
    queue_name: str = ""
    source_arn: str = ""


def _queue(body: bytes) -> str:
    try:
        return _queue_of(msgspec.json.decode(body, type=_Named))
    except (msgspec.DecodeError, ValueError):
        return ""


def _queue_of(request: object) -> str:
    url = getattr(request, "queue_url", "") or getattr(request, "queue_name", "")
    arn = getattr(request, "source_arn", "")
    key = queue_key_from_url(url) if url else queue_key_from_arn(arn)
    return "" if key is None else _printable(key.name, _TEXT_MAX)


def _client(exchange: Exchange) -> str:
    return exchange.connection.peer_ip or "-"


def _user_agent(head: Head | None) -> str:
    text = b"" if head is None else head.headers.get(b"user-agent", b"")
    return _printable(text.decode("latin-1"), _TEXT_MAX) or "no User-Agent"


def _action(head: Head | None) -> str:
    """The action that the headers name, else the method and the path."""
    if head is None:
        return "what is no request"
    target = head.headers.get(_TARGET)
    if target is not None:
        text = target.decode("latin-1").rpartition(".")[2]
    else:
        text = f"{head.method.decode('latin-1')} {head.url.partition(b'?')[0].decode('latin-1')}"
    return _printable(text, _TEXT_MAX)


def _printable(text: str, characters_max: int) -> str:
    """A text of at most so many characters, in one line, that steers no terminal."""
    short = text if len(text) <= characters_max else f"{text[:characters_max]}…"
    if short.isprintable():
        return short
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "backslashreplace").decode()
        for letter in short
    )
