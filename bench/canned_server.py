"""A server that answers without looking: what a client is measured against.

Every answer is ready before the first request comes. Run as `python -m bench.canned_server PORT`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from forebay.protocol import awsjson
from forebay.protocol.actions import (
    AnyResult,
    BatchResult,
    BatchResultEntry,
    Message,
    ReceiveMessageResult,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
)
from forebay.protocol.checksums import md5_of_body
from forebay.protocol.identifiers import encode_receipt_handle, message_id

BODY = "x" * 1024

_MD5 = md5_of_body(BODY)
_IDS = [message_id(bytes([n]) * 16) for n in range(10)]

_RESULTS: dict[str, AnyResult] = {
    "ReceiveMessage": ReceiveMessageResult(
        messages=[
            Message(
                message_id=identifier,
                receipt_handle=encode_receipt_handle(1, n, 1, identifier),
                md5_of_body=_MD5,
                body=BODY,
                attributes={
                    "SenderId": "000000000000",
                    "SentTimestamp": "1764320000000",
                    "ApproximateReceiveCount": "1",
                    "ApproximateFirstReceiveTimestamp": "1764320000001",
                },
            )
            for n, identifier in enumerate(_IDS)
        ]
    ),
    "SendMessageBatch": SendMessageBatchResult(
        successful=[
            SendMessageBatchResultEntry(id=str(n), message_id=identifier, md5_of_message_body=_MD5)
            for n, identifier in enumerate(_IDS)
        ]
    ),
    "DeleteMessageBatch": BatchResult(successful=[BatchResultEntry(id=str(n)) for n in range(10)]),
}


def _answer(result: AnyResult) -> bytes:
    body = awsjson.encode_result(result)
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {awsjson.CONTENT_TYPE}\r\n"
        f"x-amzn-RequestId: {_IDS[0]}\r\nContent-Length: {len(body)}\r\n"
        "Date: Sat, 28 Nov 2026 09:00:00 GMT\r\n\r\n"
    ).encode() + body


_ANSWERS = {f".{action}\r".encode(): _answer(result) for action, result in _RESULTS.items()}


class CannedProtocol(asyncio.Protocol):
    """One connection, with one request on its way at a time."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0] or 0)
        if end and len(body) >= length:
            self._received = b""
            self._transport.write(next(it for key, it in _ANSWERS.items() if key in head + b"\r"))


async def serve(port: int) -> None:
    """Answer on the loopback interface until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(CannedProtocol, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
