"""A TCP port that speaks HTTP with clients of SQS, from the first connection to the last answer."""

from __future__ import annotations

import asyncio
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from ssl import SSLContext

from forebay.broker.connection import Exchange, HttpConnection, Service
from forebay.broker.head import Head, RememberedHeads
from forebay.broker.http import Answers
from forebay.broker.origins import Origins
from forebay.broker.polls import ParkedPoll
from forebay.broker.request_log import (
    REFUSALS_TOGETHER_S,
    Refusals,
    RequestLog,
    logs_every_request,
)
from forebay.clock import Clock, SystemClock
from forebay.errors import AddressInUse, ForebayError
from forebay.protocol.errors import SqsError

#: How long a connection may be idle, or take over one request, before it is closed, in seconds.
#: nginx keeps 75, and SDKs open a new connection when they find one closed.
IDLE_S = 75

#: Time between two looks for idle connections, in seconds.
_IDLE_CHECK_S = 15

#: How long `stop` waits for clients to take their last answers, in seconds.
_STOP_S = 5.0

#: Connections at a time; each may hold a request body of the largest size.
CONNECTIONS_MAX = 20_000

#: Connections that may wait to be accepted: a spike of clients arrives at once.
_BACKLOG = 4_096


class Listener(ABC):
    """Accepts connections and has their requests answered, until it is stopped.

    With `tls` it speaks HTTPS only. `origins` says which web pages and host names may use it: none
    but its own unless given. More than `connections_max` connections at a time are turned away.
    """

    def __init__(
        self,
        *,
        origins: Origins | None = None,
        tls: SSLContext | None = None,
        connections_max: int = CONNECTIONS_MAX,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._origins = origins or Origins()
        self._tls = tls
        self._scheme = "http" if tls is None else "https"
        self._connections_max = connections_max
        self._clock = clock or SystemClock()
        self._answers = Answers(entropy(16))
        self._answers.set_date(self._clock.wall_ms())
        self._heads = RememberedHeads()
        self._refusals = Refusals()
        self._service: Service = RequestLog(self) if logs_every_request() else self
        self._connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Future[None] | None = None
        self._ticks = 0
        self.stopping = False
        #: Scheme, host and port, once the server listens.
        self.endpoint_url = ""

    @abstractmethod
    def handle(self, exchange: Exchange, head: Head, body: bytes) -> None:
        """Answer a request, now or later."""

    @abstractmethod
    def abandon(self, poll: ParkedPoll) -> bool:
        """The client of a poll is gone. Answers whether the poll was still waiting."""

    @abstractmethod
    def resume(self, poll: ParkedPoll) -> ParkedPoll | None:
        """The client of an abandoned poll is there after all. Answers the poll if it waits."""

    @abstractmethod
    async def _end_service(self) -> None:
        """Answer what is owed. Nothing new will be asked."""

    async def start(self, host: str, port: int) -> None:
        """Listen. Port 0 takes a free one.

        Raises AddressInUse when the port is taken, and ForebayError when the address is not ours.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self.connection,
                host,
                port,
                ssl=self._tls,
                backlog=_BACKLOG,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"Port {port} of {host} is taken by another process."
                    " Stop it or choose another port."
                ) from error
            raise ForebayError(
                f"Cannot listen on port {port} of {host}: {error}. Choose another host or port."
            ) from error
        self._origins.listen(host, [socket.getsockname()[0] for socket in self._server.sockets])
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{host}]" if ":" in host else host
        self.endpoint_url = f"{self._scheme}://{host}:{port}"
        self._tick()

    def connection(self) -> HttpConnection:
        """A connection that a transport is to be given to."""
        return HttpConnection(self._service, self._answers, self._heads)

    async def stop(self) -> None:
        """Accept nobody, answer what is owed, and see the last answers off."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        await self._end_service()
        if self._connections:
            self._all_closed = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._all_closed, _STOP_S)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
        self._refusals.sum_up()
        if self._ticker is not None:
            self._ticker.cancel()

    def refused(self, exchange: Exchange, error: SqsError) -> None:
        self._refusals.note(exchange, error)

    def address(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        # A page that is not let in learns nothing of the refusal.
        with suppress(SqsError):
            exchange.lines = self._origins.let_in(headers, self._scheme)

    def opened(self, connection: HttpConnection) -> None:
        self._connections.add(connection)
        if len(self._connections) > self._connections_max:
            connection.abort()

    def closed(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)
        if self._all_closed is not None and not self._connections and not self._all_closed.done():
            self._all_closed.set_result(None)

    def _tick(self) -> None:
        """Keep the date of the answers, and close the connections that have been idle too long."""
        self._ticker = asyncio.get_running_loop().call_later(1, self._tick)
        self._answers.set_date(self._clock.wall_ms())
        self._ticks += 1
        if self._ticks % REFUSALS_TOGETHER_S == 0:
            self._refusals.sum_up()
        if self._ticks % _IDLE_CHECK_S == 0:
            for connection in list(self._connections):
                connection.idle_checks = connection.idle_checks + 1 if connection.idle else 0
                if connection.idle_checks * _IDLE_CHECK_S > IDLE_S:
                    connection.abort()
