"""An HTTP server that stops when it is told to, for applications that drain after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any

import uvicorn

from forebay.apps import process


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: the process has to drain after it."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[int], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers[:1]:
            self._listening(server.sockets[0].getsockname()[1])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until_signalled(
    application: Any,
    port: int,
    host: str = "127.0.0.1",
    *,
    listening: Callable[[int], None] = lambda _: None,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve an ASGI application until a signal says to stop, then finish the requests in hand.

    `listening` is called with the port once it can be connected to; port 0 takes a free one.
    `stopping` is called at the signal.
    """
    server = _Server(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            lifespan="off",
        ),
        listening,
    )

    def stop() -> None:
        stopping()
        server.should_exit = True

    process.on_stop_signal(stop)
    await server.serve()
