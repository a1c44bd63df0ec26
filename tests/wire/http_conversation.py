"""A client of raw bytes, and a server whose answers are the same every time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.origins import Origins
from forebay.broker.server import HttpServer
from forebay.clock import ManualClock

#: The name under which the clients know the server.
HOST = "sqs.test"

#: What the answers' Date header says: the time at which a ManualClock starts.
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


class Conversation:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, text: bytes) -> None:
        self._writer.write(text)
        await self._writer.drain()

    async def hear(self) -> bytes:
        """One whole response."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.startswith(b"Content-Length: "):
                return head + await self._reader.readexactly(int(line[16:]))
        return head

    async def hear_end(self) -> bytes:
        """What comes before the server closes; nothing, if it just closes."""
        return await self._reader.read()

    def end(self) -> None:
        """Say nothing more, and go on listening."""
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def serving(
    origins: Origins | None = None, *, auto_create: bool = False
) -> AsyncIterator[HttpServer]:
    """A broker in memory behind HTTP on a free port."""
    broker = Broker(
        MemoryJournal(),
        executor=InlineExecutor(),
        clock=ManualClock(),
        entropy=bytes,
        recreate_interval_ms=0,
        auto_create=auto_create,
    )
    server = HttpServer(
        broker, origins=origins or Origins(hosts=[HOST]), clock=ManualClock(), entropy=bytes
    )
    await server.start("127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def conversation(server: HttpServer) -> AsyncIterator[Conversation]:
    """A connection to the server."""
    port = int(server.endpoint_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Conversation(reader, writer)
    finally:
        writer.close()


def request(action: str, body: bytes, *, path: str = "/", headers: str = "") -> bytes:
    """A request as an SDK would send it to the host sqs.test."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: sqs.test\r\nX-Amz-Target: AmazonSQS.{action}\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def answer(
    number: int, body: bytes, *, status: str = "200 OK", error: str = "", close: bool = False
) -> bytes:
    """The answer with that number; `error` is what its query error header says."""
    query_error = f"x-amzn-query-error: {error}\r\n" if error else ""
    connection = "Connection: close\r\n" if close else ""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\n{query_error}"
        f"Date: {DATE}\r\nx-amzn-RequestId: 00000000-0000-4000-8000-{number:012x}\r\n"
        f"Content-Length: {len(body)}\r\n{connection}\r\n"
    ).encode() + body
