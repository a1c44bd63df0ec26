"""A broker inside another program: for a test, or for a command that needs one while it runs."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import uvloop

from forebay.broker.journal.base import Durability
from forebay.broker.origins import Origins
from forebay.broker.running import running_broker
from forebay.errors import Closed
from forebay.protocol.identifiers import DEFAULT_REGION


class EmbeddedBroker:
    """A broker with its HTTP endpoint, on a thread and an event loop of its own.

        with EmbeddedBroker() as broker:
            sqs = boto3.client("sqs", endpoint_url=broker.endpoint_url, ...)

    Everything is in memory unless `data` names a directory; then it is durable, at level fsync
    unless `durability` says otherwise. Port 0 takes a free port. `region` is that of requests that
    name none. `origins` says which web pages and host names may use the broker: none but its own
    unless given. With `auto_create` a queue that a request names and that is missing is created.
    """

    def __init__(
        self,
        data: Path | None = None,
        *,
        durability: Durability | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        region: str = DEFAULT_REGION,
        origins: Origins | None = None,
        auto_create: bool = False,
    ) -> None:
        self._data = data
        self._durability = durability
        self._host = host
        self._port = port
        self._origins = origins
        self._auto_create = auto_create
        self._region = region
        self._thread: threading.Thread | None = None
        self._endpoint_url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    @property
    def endpoint_url(self) -> str:
        """Where the broker listens. Raises Closed while it does not run."""
        if self._thread is None:
            raise Closed("The embedded broker does not run. Call start(), or use it in a `with`.")
        return self._endpoint_url

    def start(self) -> None:
        """Start, and return when the broker listens.

        Raises AddressInUse, DataDirectoryInUse, JournalError or SettingsError.
        """
        self._stop = asyncio.Event()
        started: Future[str] = Future()
        thread = threading.Thread(
            target=self._run, args=(started,), name="forebay-broker", daemon=True
        )
        thread.start()
        self._endpoint_url = started.result()
        self._thread = thread

    def stop(self) -> None:
        """Answer what is owed, close the journal, and return. A second call does nothing."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, started: Future[str]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(self._serve(started))
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

    async def _serve(self, started: Future[str]) -> None:
        self._loop = asyncio.get_running_loop()
        async with running_broker(
            self._data,
            self._durability,
            host=self._host,
            port=self._port,
            origins=self._origins,
            auto_create=self._auto_create,
            region=self._region,
        ) as server:
            started.set_result(server.endpoint_url)
            await self._stop.wait()
