"""The processes of a demo: started, killed, started again, and never left behind."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from forebay.apps import leash
from forebay.errors import ForebayError

T = TypeVar("T")

#: How many lines of a log are shown when its process has died.
_TAIL_LINES = 20

#: How often a port is tried that does not accept connections yet, in seconds.
_LISTENING_LOOK_S = 0.05

#: Where free ports are looked for: below those that systems give to outgoing connections, one of
#: which could otherwise take a port before its server does. ip(7), ip_local_port_range.
_PORTS = range(20_000, 32_000)

_LEASH = str(Path(leash.__file__))


class ProcessDied(ForebayError):
    """A process of a demo ended although nobody stopped it."""


class ProcessHangs(ForebayError):
    """A process of a demo did not start or stop in time."""


class _Child:
    def __init__(
        self, process: asyncio.subprocess.Process, command: Sequence[str], *, ends: bool
    ) -> None:
        self.process = process
        self.command = command
        #: Whether it is to end by itself, with exit code 0.
        self.ends = ends
        #: Whether it was told to end.
        self.told_to_end = False

    def kill(self) -> None:
        """SIGKILL to it and to whatever it started."""
        self.told_to_end = True
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)


class Crew:
    """Child processes by name, each with a log file of its own.

    Without a directory for these they write to this process's standard error. `environment` has
    variables that are theirs beside those of this process.
    Use it as an async context manager: whatever still runs at its end is killed.
    """

    def __init__(
        self, log_directory: Path | None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log_directory = log_directory
        self._environment = {**os.environ, **(environment or {})}
        self._children: dict[str, _Child] = {}
        self._watches = asyncio.TaskGroup()
        self._died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Crew:
        if self._log_directory is not None:
            self._log_directory.mkdir(exist_ok=True)
        await self._watches.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for child in self._children.values():
            child.kill()
        await self._watches.__aexit__(None, None, None)

    async def start(self, name: str, command: Sequence[str], *, ends: bool = False) -> None:
        """Start a process. Its output goes to NAME.log, behind that of the last one of its name.

        `ends` says that it ends by itself when all is well.
        """
        with self._log(name) as log:
            # A session of its own keeps the terminal's Ctrl-C from it: it is stopped in its turn.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-S",
                _LEASH,
                str(os.getpid()),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log or sys.stderr,
                stderr=log or sys.stderr,
                start_new_session=True,
                env=self._environment,
            )
        self._children[name] = _Child(process, command, ends=ends)
        self._watches.create_task(self._watch(name, self._children[name]))

    async def restart(self, name: str) -> None:
        """Start a process again with the command it had."""
        await self.start(name, self._children[name].command)

    async def kill(self, name: str) -> None:
        """End a process with SIGKILL, as a crash would."""
        child = self._children[name]
        child.kill()
        await child.process.wait()

    async def stop(self, name: str, timeout_s: float) -> None:
        """Tell a process to stop and wait until it has.

        Raises ProcessHangs when it takes longer than `timeout_s`, and ProcessDied when it says that
        something went wrong.
        """
        child = self._children[name]
        child.told_to_end = True
        if child.process.returncode is None:
            child.process.terminate()
        try:
            code = await asyncio.wait_for(child.process.wait(), timeout_s)
        except TimeoutError:
            raise ProcessHangs(
                f"{name} has not stopped {timeout_s:g} s after SIGTERM. {self._tail(name)}"
            ) from None
        if code != 0:
            raise self._death(name, code)

    async def listening(self, name: str, port: int, timeout_s: float) -> None:
        """Wait until a process accepts connections on a port of this machine.

        Raises ProcessHangs when it takes longer than `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await _until_it_accepts(port)
        except TimeoutError:
            raise ProcessHangs(
                f"{name} does not listen on port {port} after {timeout_s:g} s. {self._tail(name)}"
            ) from None

    def runs(self, name: str) -> bool:
        """Whether a process has not ended."""
        return self._children[name].process.returncode is None

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, unless a process dies meanwhile: then raise ProcessDied, which says how.

        A process that is to end dies when it ends with another exit code than 0.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._died), return_when=asyncio.FIRST_COMPLETED)
            if self._died.done():
                await self._died
            return await task
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def _watch(self, name: str, child: _Child) -> None:
        code = await child.process.wait()
        expected = child.told_to_end or (child.ends and code == 0)
        if not expected and not self._died.done():
            self._died.set_exception(self._death(name, code))

    def _death(self, name: str, code: int) -> ProcessDied:
        meaning = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return ProcessDied(f"{name} has ended with {meaning}. {self._tail(name)}")

    def _log(self, name: str) -> AbstractContextManager[IO[bytes] | None]:
        """Where a process writes; None for where this one does."""
        if self._log_directory is None:
            return nullcontext()
        return (self._log_directory / f"{name}.log").open("ab")

    def _tail(self, name: str) -> str:
        if self._log_directory is None:
            return "Its log is above."
        log = (self._log_directory / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(["Its log ends:", *log[-_TAIL_LINES:]]) if log else "Its log is empty."


async def _until_it_accepts(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            await asyncio.sleep(_LISTENING_LOOK_S)
        else:
            writer.close()
            return


def python(*arguments: str) -> list[str]:
    """A command that runs this Python."""
    return [sys.executable, *arguments]


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on, and that no outgoing connection takes."""
    sockets: list[socket.socket] = []
    try:
        for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
            if len(sockets) == count:
                break
            with suppress(OSError):
                sockets.append(socket.create_server(("127.0.0.1", port)))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
