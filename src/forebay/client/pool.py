"""The connections of a client: kept while they work, no more in use than are allowed."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict, deque

from forebay.client.connection import Connection, Disconnected, HttpAnswer
from forebay.client.endpoint import Address

#: How long an unused connection is kept, in seconds: less than servers and load balancers do, so
#: that a request does not meet the end of a connection.
IDLE_S = 15.0


class Pool:
    """Makes exchanges, at most `limit` at once; more wait for their turn in order.

    Use it in one event loop at a time. What belonged to one that has ended is forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._closed = False
        self._tls: ssl.SSLContext | None = None
        self._begin(None)

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._free = self._limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: dict[Address, deque[Connection]] = defaultdict(deque)
        self._open: set[Connection] = set()
        self._all_ended: asyncio.Future[None] | None = None

    async def exchange(
        self, address: Address, request: bytes, *, deadline_s: float, repeatable: bool
    ) -> HttpAnswer:
        """Send a request and return its answer, until this time of the loop's.

        A kept connection may have been closed by the server meanwhile. When it was and not a byte
        of an answer came, a `repeatable` request is sent once more, on a new connection.

        Raises OSError: those of connecting, ssl.SSLError, Disconnected, NotHttp and TimeoutError.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin(loop)
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait_for_turn(deadline_s)
        try:
            kept = self._take_kept(address, loop.time())
            if kept is not None:
                try:
                    return await self._ask(address, kept, request, deadline_s)
                except Disconnected as error:
                    if not (repeatable and error.unanswered):
                        raise
            new = await self._connect(address, deadline_s)
            return await self._ask(address, new, request, deadline_s)
        finally:
            self._pass_turn_on()

    async def close(self) -> None:
        """Close every connection; who still waits for an answer gets Disconnected."""
        self._closed = True
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin(loop)
        if self._open and self._all_ended is None:
            self._all_ended = loop.create_future()
            for connection in list(self._open):
                connection.abort()
        if self._all_ended is not None:
            await asyncio.shield(self._all_ended)

    async def _ask(
        self, address: Address, connection: Connection, request: bytes, deadline_s: float
    ) -> HttpAnswer:
        try:
            return await connection.ask(request, deadline_s)
        finally:
            if connection.usable:
                self._idle[address].append(connection)
            else:
                connection.abort()

    def _take_kept(self, address: Address, now_s: float) -> Connection | None:
        """The connection that was used last, so that those that are not needed grow old."""
        idle = self._idle[address]
        if not idle:
            return None
        while idle and idle[0].idle_since_s < now_s - IDLE_S:
            idle.popleft().abort()
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self, address: Address, deadline_s: float) -> Connection:
        loop = asyncio.get_running_loop()
        if address.tls and self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        try:
            async with asyncio.timeout_at(deadline_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._end),
                    address.host,
                    address.port,
                    ssl=self._tls if address.tls else None,
                )
        except TimeoutError as error:
            raise TimeoutError("no connection") from error
        if self._closed or not connection.usable:
            connection.abort()
            raise Disconnected(unanswered=True)
        self._open.add(connection)
        return connection

    def _end(self, connection: Connection) -> None:
        self._open.discard(connection)
        if not self._open and self._all_ended is not None and not self._all_ended.done():
            self._all_ended.set_result(None)

    async def _wait_for_turn(self, deadline_s: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline_s):
                await turn
        except TimeoutError as error:
            raise TimeoutError("no connection was free") from error
        except asyncio.CancelledError:
            if not turn.cancelled():
                # It came in the same moment.
                self._pass_turn_on()
            raise

    def _pass_turn_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
