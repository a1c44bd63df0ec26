"""An HTTP server that stops when it is told to, for applications that drain after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from forebay.apps import process


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process has to drain after it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until_signalled(application: Any, port: int, host: str = "127.0.0.1") -> None:
    """Serve an ASGI application until a signal says to stop, then finish the requests in hand."""
    server = _Server(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            lifespan="off",
        )
    )
    process.on_stop_signal(lambda: setattr(server, "should_exit", True))
    await server.serve()
