"""One request's path through the broker, over and over, and nothing else.

Requests go through the broker's own connection class, so all that is left out is what the operating
system and the event loop's transport do. Run as `python -m bench.path_subject ACTION DURABILITY
CONNECTIONS REQUESTS PREPARED`: it prepares for so many requests, then makes REQUESTS of them. What
is counted of two runs that prepared alike differs by the requests alone.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench import http_load
from forebay.broker.journal.base import Durability
from forebay.broker.running import running_broker
from forebay.broker.server import HttpServer

#: What can be counted: SendMessage, ReceiveMessage of ten, DeleteMessageBatch of ten.
ACTIONS = ("send", "receive", "delete")

_BODY = "x" * 1024
_URL = "http://127.0.0.1:9324"
_QUEUE_URL = f"{_URL}/000000000000/path"


class MemoryTransport(asyncio.Transport):
    """Takes answers in place of a socket."""

    def __init__(self, answered: Callable[[bytes], None]) -> None:
        super().__init__()
        self._answered = answered

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._answered(bytes(data))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default


class Clients:
    """Connections that send a request each, and wait until all are answered."""

    def __init__(self, server: HttpServer, connections: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._answers: list[bytes] = []
        self._all_answered = self._loop.create_future()
        self._expected = 0
        self._connections = []
        for _ in range(connections):
            connection = server.connection()
            connection.connection_made(MemoryTransport(self._take))
            self._connections.append(connection)

    async def ask(self, requests: list[bytes]) -> list[bytes]:
        """The answers to as many requests as there are connections, or fewer."""
        self._answers = []
        self._expected = len(requests)
        self._all_answered = self._loop.create_future()
        for connection, request in zip(self._connections, requests, strict=False):
            connection.data_received(request)
        await self._all_answered
        return self._answers

    def close(self) -> None:
        """Be gone."""
        for connection in self._connections:
            connection.connection_lost(None)

    def _take(self, answer: bytes) -> None:
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the broker answered {answer!r}")
        self._answers.append(answer)
        if len(self._answers) == self._expected:
            self._all_answered.set_result(None)


def _request(target: str, **members: Any) -> bytes:
    members["QueueUrl"] = _QUEUE_URL
    return http_load.request_bytes(_URL, msgspec.json.encode(members), target)


async def _prepare(clients: Clients, action: str, requests: int) -> Callable[[], bytes]:
    """Have the queue as the action needs it; answers what makes the next request."""
    # Counting is slow: no visibility timeout may end meanwhile.
    members = {"QueueName": "path", "Attributes": {"VisibilityTimeout": "43200"}}
    create = http_load.request_bytes(_URL, msgspec.json.encode(members), "CreateQueue")
    await clients.ask([create])
    if action == "send":
        send = _request("SendMessage", MessageBody=_BODY)
        return lambda: send
    entries = [{"Id": str(index), "MessageBody": _BODY} for index in range(10)]
    batch = _request("SendMessageBatch", Entries=entries)
    for _ in range(requests):
        await clients.ask([batch])
    receive = _request("ReceiveMessage", MaxNumberOfMessages=10)
    if action == "receive":
        return lambda: receive
    deletes: deque[bytes] = deque()
    for _ in range(requests):
        [answer] = await clients.ask([receive])
        messages = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["Messages"]
        handles = [
            {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
            for index, message in enumerate(messages)
        ]
        deletes.append(_request("DeleteMessageBatch", Entries=handles))
    return deletes.popleft


async def answer_requests(
    action: str,
    durability: Durability,
    *,
    connections: int,
    requests: int,
    prepared: int,
    begin: Callable[[], None] = lambda: None,
    end: Callable[[], None] = lambda: None,
) -> None:
    """Prepare for `prepared` requests and make `requests` of them between `begin` and `end`."""
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory:
        data = None if durability is Durability.MEMORY else Path(directory)
        async with running_broker(data, durability) as server:
            clients = Clients(server, connections)
            make_request = await _prepare(clients, action, prepared)
            begin()
            for _ in range(requests // connections):
                await clients.ask([make_request() for _ in range(connections)])
            end()
            clients.close()


if __name__ == "__main__":
    uvloop.run(
        answer_requests(
            sys.argv[1],
            Durability(sys.argv[2]),
            connections=int(sys.argv[3]),
            requests=int(sys.argv[4]),
            prepared=int(sys.argv[5]),
        )
    )
