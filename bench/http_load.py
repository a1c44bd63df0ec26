"""A load generator lean enough not to be what is measured: raw HTTP/1.1 on keep-alive sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct


class Load(Struct):
    """What one run did."""

    requests: int
    seconds: float
    latencies_ms: list[float]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """The latency that `percent` of the requests stayed within."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Connection(asyncio.Protocol):
    """One connection with one request on its way at a time.

    It is kept alive, and opened anew where the server closes it after an answer.
    """

    def __init__(self, host: str, port: int, failed: Callable[[Exception], None]) -> None:
        self._address = (host, port)
        self._failed = failed
        self._waiting = False
        self._closed = False
        self._opening: asyncio.Task[None] | None = None
        self._received = bytearray()
        self._on_answer: Callable[[bytes], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, on_answer: Callable[[bytes], None]) -> None:
        """Send a request; `on_answer` gets the body of a 200, and `failed` anything else."""
        self._on_answer = on_answer
        self._waiting = True
        if self._closed:
            self._opening = asyncio.create_task(self._open_and_write(request))
        else:
            self._transport.write(request)

    async def open(self) -> None:
        """Connect."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self._address)
        self._closed = False

    async def _open_and_write(self, request: bytes) -> None:
        try:
            await self.open()
        except OSError as error:
            self._failed(error)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        end_of_head = received.find(b"\r\n\r\n")
        if end_of_head < 0:
            return
        head = bytes(received[:end_of_head]).lower()
        if not head.startswith(b"http/1.1 200"):
            self._failed(RuntimeError(f"the server answered {bytes(received)!r}"))
            return
        start = head.find(b"content-length:") + 15
        if start < 15:
            if not received.endswith(b"\r\n0\r\n\r\n"):
                return
            body = _joined_chunks(bytes(received[end_of_head + 4 :]))
        else:
            length = int(head[start:].split(b"\r\n", 1)[0])
            if len(received) < end_of_head + 4 + length:
                return
            body = bytes(received[end_of_head + 4 :])
        received.clear()
        self._waiting = False
        if b"connection: close" in head:
            self._closed = True
            self._transport.close()
        assert self._on_answer is not None
        self._on_answer(body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting and not self._closed:
            self._failed(error or RuntimeError("the server closed the connection"))

    def close(self) -> None:
        self._failed = lambda _: None
        self._transport.close()


def _joined_chunks(encoded: bytes) -> bytes:
    """A body that came in chunks."""
    chunks = []
    while encoded:
        size, _, rest = encoded.partition(b"\r\n")
        length = int(size, 16)
        chunks.append(rest[:length])
        encoded = rest[length + 2 :]
    return b"".join(chunks)


def request_bytes(url: str, body: bytes, target: str | None = None) -> bytes:
    """A POST of `body`, with the target header of an SQS action when there is one."""
    parts = urlsplit(url)
    lines = [
        f"POST {parts.path or '/'} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/x-amz-json-1.0",
        f"Content-Length: {len(body)}",
        # Peers tell services apart by the scope of the signature; nobody here checks the rest.
        "Authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/sqs/aws4_request",
    ]
    if target is not None:
        lines.append(f"X-Amz-Target: AmazonSQS.{target}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def connect(url: str, count: int, failed: Callable[[Exception], None]) -> list[Connection]:
    """Open connections to the server of `url`; `failed` hears of the first that goes wrong."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    connections = []
    for _ in range(count):
        connection = Connection(host, port, failed)
        await connection.open()
        connections.append(connection)
    return connections


async def exchange(connection: Connection, request: bytes) -> bytes:
    """The body of the answer to a request."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    connection.ask(request, answer.set_result)
    return await answer


class Client:
    """A connection for one request after the other, none of them timed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._answer: asyncio.Future[bytes] | None = None

    async def __aenter__(self) -> Client:
        [self._connection] = await connect(self._url, 1, self._failed)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connection.close()

    async def ask(self, action: str, **members: object) -> Any:
        """The result of an action of SQS."""
        request = request_bytes(self._url, msgspec.json.encode(members), action)
        self._answer = asyncio.get_running_loop().create_future()
        self._connection.ask(request, self._answer.set_result)
        answer = await self._answer
        return msgspec.json.decode(answer) if answer else None

    def _failed(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


async def create_queue(url: str, name: str, **attributes: object) -> str:
    """Create a queue and return its URL."""
    async with Client(url) as client:
        texts = {attribute: str(value) for attribute, value in attributes.items()}
        created = await client.ask("CreateQueue", QueueName=name, Attributes=texts)
    queue_url: str = created["QueueUrl"]
    return queue_url


async def delete_queue(url: str, queue_url: str) -> None:
    """Delete a queue."""
    async with Client(url) as client:
        await client.ask("DeleteQueue", QueueUrl=queue_url)


async def repeat(url: str, request: bytes, *, connections: int, seconds: float) -> Load:
    """Send the same request over and over on every connection at once."""
    clock = time.perf_counter
    latencies_ms: list[float] = []
    running = connections
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    opened = await connect(url, connections, _fail(finished))
    started = clock()
    deadline = started + seconds

    def start(connection: Connection) -> None:
        sent_at = clock()

        def answered(_: bytes) -> None:
            nonlocal sent_at, running
            now = clock()
            latencies_ms.append((now - sent_at) * 1000)
            if now < deadline:
                sent_at = now
                connection.ask(request, answered)
                return
            running -= 1
            if running == 0:
                finished.set_result(None)

        connection.ask(request, answered)

    for connection in opened:
        start(connection)
    await finished
    elapsed = clock() - started
    for connection in opened:
        connection.close()
    return Load(len(latencies_ms), elapsed, latencies_ms)


async def send_all(url: str, bodies: list[bytes], action: str, *, connections: int) -> None:
    """Send each body once as a request of an action; nothing is timed."""
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    opened = await connect(url, connections, _fail(broken))
    waiting = iter(bodies)

    async def send(connection: Connection) -> None:
        for body in waiting:
            await exchange(connection, request_bytes(url, body, action))

    sends = asyncio.gather(*(send(connection) for connection in opened))
    await _first_of(sends, broken)
    for connection in opened:
        connection.close()


async def life_cycles(
    url: str,
    queue_url: str,
    make_batch: Callable[[], bytes],
    *,
    connections: int,
    seconds: float,
) -> Load:
    """Send ten, receive ten, delete the ten, over and over; counts messages deleted.

    `make_batch` makes the body of a SendMessageBatch.
    """
    clock = time.perf_counter
    receive_body = {"QueueUrl": queue_url, "MaxNumberOfMessages": 10}
    receive = request_bytes(url, msgspec.json.encode(receive_body), "ReceiveMessage")
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    opened = await connect(url, connections, _fail(broken))
    latencies_ms: list[float] = []
    deleted = 0
    started = clock()
    deadline = started + seconds

    async def cycle(connection: Connection) -> None:
        nonlocal deleted
        while (begun := clock()) < deadline:
            await exchange(connection, request_bytes(url, make_batch(), "SendMessageBatch"))
            answer = await exchange(connection, receive)
            handles = [
                message.receipt_handle for message in _received_decoder.decode(answer).messages
            ]
            if handles:
                delete = request_bytes(url, _delete_batch(queue_url, handles), "DeleteMessageBatch")
                await exchange(connection, delete)
            deleted += len(handles)
            latencies_ms.append((clock() - begun) * 1000)

    cycles = asyncio.gather(*(cycle(connection) for connection in opened))
    await _first_of(cycles, broken)
    elapsed = clock() - started
    for connection in opened:
        connection.close()
    return Load(deleted, elapsed, latencies_ms)


async def _first_of(work: asyncio.Future[Any], broken: asyncio.Future[None]) -> None:
    """Wait for the work, or raise what broke it."""
    await asyncio.wait([work, broken], return_when=asyncio.FIRST_COMPLETED)
    if broken.done():
        work.cancel()
        broken.result()
    await work


def _fail(future: asyncio.Future[None]) -> Callable[[Exception], None]:
    def failed(error: Exception) -> None:
        if not future.done():
            future.set_exception(error)

    return failed


class _ReceivedMessage(Struct, rename="pascal"):
    receipt_handle: str


class _Received(Struct, rename="pascal"):
    messages: list[_ReceivedMessage] = []


_received_decoder = msgspec.json.Decoder(_Received)


def _delete_batch(queue_url: str, handles: list[str]) -> bytes:
    entries = [{"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(handles)]
    return msgspec.json.encode({"QueueUrl": queue_url, "Entries": entries})
