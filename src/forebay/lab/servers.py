"""The servers of a run, the broker and the service outside, which a scenario may kill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from forebay.errors import ForebayError
from forebay.lab.processes import Process, Processes

#: How long one may take to listen, and to die, in real seconds.
_PATIENCE_S = 30.0

#: How often it is tried whether it listens, in real seconds.
_LOOK_S = 0.01


class NotListening(ForebayError):
    """A server of the lab has not started."""


class LabServer:
    """A process that listens on a port of this machine."""

    def __init__(
        self,
        processes: Processes,
        name: str,
        port: int,
        function: Callable[..., None],
        *arguments: Any,
    ) -> None:
        self._processes = processes
        self._name = name
        self._port = port
        self._function = function
        self._arguments = arguments
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it, or start it again with the data that it has, and wait until it listens.

        Raises NotListening, which shows the end of its log.
        """
        self._process = process = self._processes.start(
            self._name, self._function, *self._arguments
        )
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not await _listens(self._port):
                    if not process.runs:
                        raise NotListening(f"The process {self._name} has ended. {process.tail()}")
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise NotListening(
                f"The process {self._name} does not listen. {process.tail()}"
            ) from None

    async def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait(_PATIENCE_S)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    return True
