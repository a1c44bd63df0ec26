"""The one port of `forebay worker run`: health, metrics and the snapshot of all processes.

Three pages for a probe, a scraper and a watcher, a few times a second at most. So each connection
carries one request, and no library is needed for it.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import msgspec
from msgspec import Struct

from forebay.errors import AddressInUse, SettingsError
from forebay.observability.health import reasons, warnings
from forebay.observability.prometheus import WORKER_METRICS_CONTENT_TYPE, worker_metrics_text
from forebay.observability.view import WorkersView

#: Where health and metrics are unless the user says otherwise: beside the broker's port.
DEFAULT_PORT = 9325

#: Longest head of a request, in bytes. What probes and browsers send is far below it.
_HEAD_BYTES_MAX = 16 * 1024

#: How long a request may take to come and an answer to leave, in seconds.
_PATIENCE_S = 10.0

_JSON = "application/json"


class _Answer(Struct):
    status: HTTPStatus
    content_type: str
    body: bytes


@asynccontextmanager
async def serving(
    view: Callable[[], WorkersView], host: str, port: int | None
) -> AsyncIterator[str]:
    """Answer GET /health, /metrics and /snapshot until the block ends, at the URL that this gives.

    Port None is DEFAULT_PORT, or a free one while that is taken. Raises AddressInUse when another
    port is taken, and SettingsError when nobody can listen on `host`.
    """
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        connections.add(connection)
        try:
            await _serve(view, reader, writer)
        finally:
            connections.discard(connection)

    server = await _listen(serve, host, port)
    name, number = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _listen(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    host: str,
    port: int | None,
) -> asyncio.Server:
    number = DEFAULT_PORT if port is None else port
    try:
        return await asyncio.start_server(serve, host, number, limit=_HEAD_BYTES_MAX)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise SettingsError(
                f"Nobody can listen on {host}: {error.strerror}. Name another --host."
            ) from error
        if port is not None:
            raise AddressInUse(
                f"{host}:{port} is taken by another process. Choose another --port."
            ) from error
        return await _listen(serve, host, 0)


async def _serve(
    view: Callable[[], WorkersView], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Read one request and answer it."""
    try:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_PATIENCE_S):
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except asyncio.LimitOverrunError:
                    head = b""
                writer.write(_response(head, view))
                await writer.drain()
    finally:
        writer.close()


def _response(head: bytes, view: Callable[[], WorkersView]) -> bytes:
    method, _, rest = head.partition(b" ")
    target, _, rest = rest.partition(b" ")
    if not rest.startswith(b"HTTP/1."):
        answer = _text(HTTPStatus.BAD_REQUEST, "This is no HTTP/1.1 request.")
    elif method not in (b"GET", b"HEAD"):
        answer = _text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here.")
    else:
        answer = _page(target.partition(b"?")[0], view)
    lines = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + (b"" if method == b"HEAD" else answer.body)


def _page(path: bytes, view: Callable[[], WorkersView]) -> _Answer:
    match path:
        case b"/health":
            return _health(view())
        case b"/metrics":
            text = worker_metrics_text(view())
            return _Answer(HTTPStatus.OK, WORKER_METRICS_CONTENT_TYPE, text)
        case b"/snapshot":
            return _json(HTTPStatus.OK, view())
    return _text(HTTPStatus.NOT_FOUND, "There are /health, /metrics and /snapshot.")


def _health(view: WorkersView) -> _Answer:
    why = reasons(view)
    answer = {
        "status": "failing" if why else "ok",
        "reasons": why,
        "warnings": warnings(view),
        "processes": [
            {"number": process.number, "process_id": process.process_id, "state": process.state}
            for process in view.processes
        ],
    }
    return _json(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, answer)


def _json(status: HTTPStatus, answer: object) -> _Answer:
    return _Answer(status, _JSON, msgspec.json.encode(answer) + b"\n")


def _text(status: HTTPStatus, text: str) -> _Answer:
    return _Answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())
