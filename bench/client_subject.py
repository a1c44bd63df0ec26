"""Calls of our client, over and over, and nothing else.

Run as `python -m bench.client_subject ACTION CONNECTIONS CALLS URL`, against `bench.canned_server`.
It prints the processor time of one call in microseconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

import uvloop

from bench.canned_server import BODY
from forebay.client.http import HttpSqsClient
from forebay.protocol.actions import (
    AnyRequest,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    ReceiveMessageRequest,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
)
from forebay.protocol.sigv4 import Credentials

_QUEUE_URL = "http://127.0.0.1:9324/000000000000/path"

#: What can be counted. All of ten messages of 1 KiB.
REQUESTS: dict[str, AnyRequest] = {
    "send": SendMessageBatchRequest(
        queue_url=_QUEUE_URL,
        entries=[SendMessageBatchRequestEntry(id=str(n), message_body=BODY) for n in range(10)],
    ),
    "receive": ReceiveMessageRequest(
        queue_url=_QUEUE_URL,
        message_system_attribute_names=["All"],
        message_attribute_names=["All"],
        max_number_of_messages=10,
        visibility_timeout=30,
        wait_time_seconds=2,
    ),
    "delete": DeleteMessageBatchRequest(
        queue_url=_QUEUE_URL,
        entries=[
            DeleteMessageBatchRequestEntry(id=str(n), receipt_handle="h" * 56) for n in range(10)
        ],
    ),
}


async def make_calls(
    action: str,
    url: str,
    *,
    connections: int,
    calls: int,
    begin: Callable[[], None] = lambda: None,
    end: Callable[[], None] = lambda: None,
) -> float:
    """Make so many calls, and return the processor time of them all, in seconds."""
    request = REQUESTS[action]
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    async with HttpSqsClient(url, credentials=credentials, environment={}) as client:

        async def make(count: int) -> None:
            for _ in range(count):
                await client.call(request)

        await asyncio.gather(*(make(1) for _ in range(connections)))
        begin()
        began_s = time.process_time()
        await asyncio.gather(*(make(calls // connections) for _ in range(connections)))
        taken_s = time.process_time() - began_s
        end()
    return taken_s


def main() -> None:
    action, connections, calls, url = sys.argv[1:]
    taken_s = uvloop.run(make_calls(action, url, connections=int(connections), calls=int(calls)))
    print(f"{taken_s / int(calls) * 1e6:.1f}")


if __name__ == "__main__":
    main()
