"""The one port of `forebay worker run`: health, metrics and the snapshot of all processes."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from forebay.errors import AddressInUse, SettingsError
from forebay.observability.health import reasons
from forebay.observability.prometheus import WORKER_METRICS_CONTENT_TYPE, worker_metrics_text
from forebay.observability.view import WorkersView

#: Where health and metrics are unless the user says otherwise: beside the broker's port.
DEFAULT_PORT = 9325

#: How long an answer that is under way may take when the port closes, in seconds.
_SHUTDOWN_S = 1.0


@asynccontextmanager
async def serving(
    view: Callable[[], WorkersView], host: str, port: int | None
) -> AsyncIterator[str]:
    """Answer GET /health, /metrics and /snapshot until the block ends, at the URL that this gives.

    Port None is DEFAULT_PORT, or a free one while that is taken. Raises AddressInUse when another
    port is taken, and SettingsError when nobody can listen on `host`.
    """

    async def health(_: web.Request) -> web.Response:
        return _health(view())

    async def metrics(_: web.Request) -> web.Response:
        text = worker_metrics_text(view())
        return web.Response(body=text, headers={"Content-Type": WORKER_METRICS_CONTENT_TYPE})

    async def snapshot(_: web.Request) -> web.Response:
        return _json(view(), 200)

    application = web.Application()
    application.add_routes(
        [
            web.get("/health", health),
            web.get("/metrics", metrics),
            web.get("/snapshot", snapshot),
        ]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        yield await _listen(runner, host, port)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int | None) -> str:
    site = web.TCPSite(runner, host, DEFAULT_PORT if port is None else port)
    try:
        await site.start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise SettingsError(
                f"Nobody can listen on {host}: {error.strerror}. Name another --host."
            ) from error
        if port is not None:
            raise AddressInUse(
                f"{host}:{port} is taken by another process. Choose another --port."
            ) from error
        await site.stop()
        return await _listen(runner, host, 0)
    name, number = runner.addresses[0][:2]
    return f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"


def _health(view: WorkersView) -> web.Response:
    why = reasons(view)
    answer = {
        "status": "failing" if why else "ok",
        "reasons": why,
        "processes": [
            {"number": process.number, "process_id": process.process_id, "state": process.state}
            for process in view.processes
        ],
    }
    return _json(answer, 503 if why else 200)


def _json(answer: object, status: int) -> web.Response:
    body = msgspec.json.encode(answer) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")
