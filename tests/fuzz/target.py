"""What is fuzzed: a whole broker behind its HTTP connection, without a socket."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.server import HttpServer
from forebay.clock import ManualClock

_RESPONSE = re.compile(rb"HTTP/1\.1 (?P<status>\d{3}) [ -~]*\r\n(?P<head>.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)

#: Statuses that a client may be given. 500 is never one of them.
ALLOWED = {100, 200, 400, 403, 404, 405, 411, 413, 431, 503}


class Violation(AssertionError):
    """An input made the broker do what it must not. The text has the input."""


class _Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class _Errors(logging.Handler):
    """Collects what the broker logs as an error: it means that something unforeseen happened."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Target:
    """A broker that is given inputs, each on a connection of its own."""

    def __init__(self, server: HttpServer, clock: ManualClock) -> None:
        self._server = server
        self._clock = clock
        self._errors = _Errors()
        logging.getLogger("forebay").addHandler(self._errors)

    def close(self) -> None:
        logging.getLogger("forebay").removeHandler(self._errors)

    async def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Give the broker an input and check what it answers.

        Returns the JSON answers of status 200. A poll that waits, or a request that is not whole,
        has none. Raises Violation.
        """
        transport = _Transport()
        connection = self._server.connection()
        connection.connection_made(cast("asyncio.Transport", transport))
        try:
            connection.data_received(data)
            for _ in range(4):
                await asyncio.sleep(0)
        except Exception as error:
            raise Violation(f"{error!r} escaped for {data!r}") from error
        finally:
            connection.connection_lost(None)
        self._clock.advance(50)
        if self._errors.records:
            record = self._errors.records[0]
            raise Violation(f"logged {record.getMessage()!r} {record.exc_info} for {data!r}")
        return self._checked(bytes(transport.written), data)

    def _checked(self, written: bytes, data: bytes) -> list[dict[str, Any]]:
        answers = []
        while written:
            response = _RESPONSE.match(written)
            if response is None:
                raise Violation(f"{written[:200]!r} is no response, for {data!r}")
            status = int(response["status"])
            if status not in ALLOWED:
                raise Violation(f"status {status} for {data!r}")
            length = _LENGTH.search(response["head"])
            end = response.end() + (int(length[1]) if length else 0)
            body, written = written[response.end() : end], written[end:]
            if status == 200 and body.startswith(b"{"):
                answers.append(json.loads(body))
        return answers


@asynccontextmanager
async def target() -> AsyncIterator[Target]:
    """A fresh broker in memory."""
    clock = ManualClock()
    broker = Broker(
        MemoryJournal(),
        executor=InlineExecutor(),
        clock=clock,
        entropy=random.Random(0).randbytes,
        recreate_interval_ms=0,
    )
    server = HttpServer(broker, clock=clock, entropy=bytes)
    fuzzed = Target(server, clock)
    try:
        yield fuzzed
    finally:
        fuzzed.close()
        await broker.close()
