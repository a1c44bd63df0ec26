"""Messages of a worker's kind, and queues full of them."""

from __future__ import annotations

import re
import uuid
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from bench import http_load

#: Connections that send at once, ten messages a call.
CONNECTIONS = 8

_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Template(Struct, frozen=True):
    """A message of a subject's kind, as its own producer sends it to a queue."""

    body: str
    attributes: dict[str, Any] = {}
    queue: str = ""

    def entry(self, identifier: str, queue: str) -> dict[str, Any]:
        """A message for another queue and with other ids, in whatever they are encoded."""
        try:
            inner = b64decode(self.body, validate=True)
        except ValueError:
            body = self._adapted(self.body.encode(), queue).decode()
        else:
            body = b64encode(self._adapted(inner, queue)).decode()
        return {"Id": identifier, "MessageBody": body, "MessageAttributes": self.attributes}

    def _adapted(self, body: bytes, queue: str) -> bytes:
        others: dict[bytes, bytes] = {}

        def other(found: re.Match[bytes]) -> bytes:
            return others.setdefault(found[0], str(uuid.uuid4()).encode())

        if self.queue:
            body = body.replace(self.queue.encode(), queue.encode())
        return _UUID.sub(other, body)


async def send(url: str, messages: Iterable[tuple[str, str, Template]]) -> None:
    """Send messages as fast as the broker takes them, in about this order.

    Each is for a queue of this name and URL.
    """
    waiting: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    batches = []

    def close(queue_url: str) -> None:
        entries = waiting.pop(queue_url)
        batches.append(msgspec.json.encode({"QueueUrl": queue_url, "Entries": entries}))

    for queue, queue_url, template in messages:
        entries = waiting[queue_url]
        entries.append(template.entry(str(len(entries)), queue))
        if len(entries) == 10:
            close(queue_url)
    for queue_url in list(waiting):
        close(queue_url)
    await http_load.send_all(url, batches, "SendMessageBatch", connections=CONNECTIONS)
