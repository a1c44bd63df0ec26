"""The HTTP endpoint of a broker."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

import msgspec

from forebay.broker.broker import Broker
from forebay.broker.connection import Exchange, HttpConnection
from forebay.broker.core.engine import Caller
from forebay.broker.http import Answers
from forebay.broker.polls import ParkedPoll
from forebay.clock import Clock, SystemClock
from forebay.errors import AddressInUse, ForebayError
from forebay.protocol import errors
from forebay.protocol.actions import ACTIONS
from forebay.protocol.awsjson import TARGET_HEADER, TARGET_PREFIX, decode_request
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, queue_key_from_url

#: How long a connection may be idle, or take over one request, before it is closed, in seconds.
#: nginx keeps 75, and SDKs open a new connection when they find one closed.
IDLE_S = 75

#: Time between two looks for idle connections, in seconds.
_IDLE_CHECK_S = 15

#: How long `stop` waits for clients to take their last answers, in seconds.
_STOP_S = 5.0

#: Callers that are remembered, by what their requests say. A bound, because clients make them.
_CALLERS_MAX = 10_000

#: Connections that may wait to be accepted: a spike of clients arrives at once.
_BACKLOG = 4_096

_TARGET = TARGET_HEADER.lower().encode()
_ACTIONS = {(TARGET_PREFIX + name).encode(): name for name in ACTIONS}


class HttpServer:
    """Serves a broker on a TCP port. POST carries requests of SQS; GET /health tells how it is."""

    def __init__(
        self,
        broker: Broker,
        *,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._broker = broker
        self._clock = clock or SystemClock()
        self._answers = Answers(entropy(16))
        self._callers: dict[tuple[bytes, bytes, bytes], Caller] = {}
        self._connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Future[None] | None = None
        self._ticks = 0
        self.stopping = False
        #: Scheme, host and port, once the server listens.
        self.endpoint_url = ""

    async def start(self, host: str, port: int) -> None:
        """Listen. Port 0 takes a free one.

        Raises AddressInUse when the port is taken, and ForebayError when the address is not ours.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: HttpConnection(self, self._answers), host, port, backlog=_BACKLOG
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"Port {port} of {host} is taken by another process."
                    " Stop it or choose another --port."
                ) from error
            raise ForebayError(
                f"Cannot listen on port {port} of {host}: {error}. Choose another --host or --port."
            ) from error
        port = self._server.sockets[0].getsockname()[1]
        self.endpoint_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._tick()

    async def stop(self) -> None:
        """Accept nobody, close the broker, and see its last answers off."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        await self._broker.close()
        if self._connections:
            self._all_closed = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._all_closed, _STOP_S)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
        if self._ticker is not None:
            self._ticker.cancel()

    def handle(
        self,
        exchange: Exchange,
        method: bytes,
        url: bytes,
        headers: dict[bytes, bytes],
        body: bytes,
    ) -> None:
        target = headers.get(_TARGET, b"")
        if method != b"POST" or not target:
            self._handle_other(exchange, method, url)
            return
        try:
            action = _ACTIONS.get(target)
            if action is None:
                raise _unknown_action(target)
            request = decode_request(action, body)
        except SqsError as error:
            exchange.reply(error)
            return
        exchange.poll = self._broker.submit(request, self._caller(url, headers), exchange.reply)

    def abandon(self, poll: ParkedPoll) -> None:
        self._broker.abandon(poll)

    def opened(self, connection: HttpConnection) -> None:
        self._connections.add(connection)

    def closed(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)
        if self._all_closed is not None and not self._connections and not self._all_closed.done():
            self._all_closed.set_result(None)

    def _handle_other(self, exchange: Exchange, method: bytes, url: bytes) -> None:
        if method == b"GET" and url == b"/health":
            available = self._broker.available
            health = {
                "status": "ok" if available else "unavailable",
                "durability": self._broker.durability.value,
            }
            exchange.respond(
                self._answers.json(
                    200 if available else 503,
                    msgspec.json.encode(health),
                    keep_alive=exchange.keep_alive,
                )
            )
            return
        exchange.reply(
            SqsError(
                errors.UNKNOWN_OPERATION,
                "This endpoint speaks AWS JSON 1.0: POST a JSON object, and name the action in the"
                " header X-Amz-Target, for example AmazonSQS.SendMessage.",
            )
        )

    def _caller(self, url: bytes, headers: dict[bytes, bytes]) -> Caller:
        host = headers.get(b"host", b"")
        # "AWS4-HMAC-SHA256 Credential=key/date/region/sqs/aws4_request, SignedHeaders=...": the
        # part before the comma stays the same for a client's whole day.
        credential = headers.get(b"authorization", b"").partition(b",")[0]
        key = (url, host, credential)
        caller = self._callers.get(key)
        if caller is None:
            if len(self._callers) >= _CALLERS_MAX:
                self._callers.clear()
            caller = self._callers[key] = self._new_caller(url, host, credential)
        return caller

    def _new_caller(self, url: bytes, host: bytes, credential: bytes) -> Caller:
        queue = queue_key_from_url(url.decode("latin-1"))
        scope = credential.decode("latin-1").split("/")
        return Caller(
            account_id=queue.account_id if queue is not None else DEFAULT_ACCOUNT_ID,
            region=scope[2] if len(scope) == 5 and scope[2] else DEFAULT_REGION,
            endpoint_url=f"http://{host.decode('latin-1')}" if host else self.endpoint_url,
        )

    def _tick(self) -> None:
        """Keep the date of the answers, and close the connections that have been idle too long."""
        self._ticker = asyncio.get_running_loop().call_later(1, self._tick)
        self._answers.set_date(self._clock.wall_ms())
        self._ticks += 1
        if self._ticks % _IDLE_CHECK_S == 0:
            for connection in list(self._connections):
                connection.idle_checks = connection.idle_checks + 1 if connection.idle else 0
                if connection.idle_checks * _IDLE_CHECK_S > IDLE_S:
                    connection.abort()


def _unknown_action(target: bytes) -> SqsError:
    return SqsError(
        errors.UNKNOWN_OPERATION,
        f"The action {target.decode(errors='replace')} is not known here. This broker knows"
        f" {', '.join(sorted(ACTIONS))}.",
    )
