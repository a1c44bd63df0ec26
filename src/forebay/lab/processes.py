"""The processes of a run: forked from one that has imported everything, and killed for real.

A new interpreter takes half a second to import what a worker needs. A fork of one that has imported
it takes a few milliseconds, and is a process like any other: with its own memory, connections and
exit code, and SIGKILL ends it in the midst of a line.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from forebay.errors import ForebayError

#: What the process that is forked has imported: all that a run may start.
_PRELOADED = ("forebay.lab.runner",)

#: Lines of a log that are shown when its process has not ended as it should.
_TAIL_LINES = 20

#: What ends a run. A terminal sends it to every process that the run has started, too.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: prctl's option that names the signal a process gets when its parent dies. prctl(2).
_PR_SET_PDEATHSIG = 1


class ProcessHangs(ForebayError):
    """A process of the lab did not end in time."""


class Process:
    """A process of a run."""

    def __init__(self, name: str, process: ForkServerProcess, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: Whether it was told to end.
        self.told = False
        asyncio.get_running_loop().add_reader(process.sentinel, self._on_end)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return not self._ended.done()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative number of the signal that ended it, if one did."""
        return self._process.exitcode if self._ended.done() else None

    def kill(self) -> None:
        """SIGKILL: it ends between two instructions, as in a crash or a loss of power."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: it is asked to stop, as by a deployment."""
        self._signal(signal.SIGTERM)

    async def wait(self, timeout_s: float) -> int:
        """Wait until it has ended, and return its exit code.

        `timeout_s` is in real seconds. Raises ProcessHangs, which shows the end of its log.
        """
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), timeout_s)
        except TimeoutError:
            raise ProcessHangs(
                f"{self.name} has not ended within {timeout_s:g} s. {self.tail()}"
            ) from None
        code = self.exit_code
        assert code is not None
        return code

    def tail(self) -> str:
        """The end of its log, for an error."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(["Its log ends:", *lines[-_TAIL_LINES:]]) if lines else "Its log is empty."

    def _signal(self, number: signal.Signals) -> None:
        self.told = True
        if self.runs:
            os.kill(self.pid, number)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        if not self._ended.done():
            self._ended.set_result(None)


class Processes:
    """Starts the processes of one run, each with a log file, and leaves none behind."""

    def __init__(self, directory: Path) -> None:
        self._logs = directory / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._running: list[Process] = []

    def start(
        self,
        name: str,
        function: Callable[..., None],
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a process that calls a function of a module, and ends with what it does.

        Its environment is this process's and `environment`. What it prints goes to its log.
        """
        log = self._logs / f"{name}.log"
        process = _context().Process(
            target=_run,
            args=(log, {**os.environ, **(environment or {})}, function, arguments),
            name=name,
            daemon=False,
        )
        with _without_main():
            process.start()
        started = Process(name, process, log)
        self._running.append(started)
        return started

    async def end_all(self) -> None:
        """Kill what still runs."""
        for process in self._running:
            process.kill()
        for process in self._running:
            await process.wait(timeout_s=10)


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    # First, since it lets these signals through again where it is started.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        # It keeps them blocked: it must not end before the run, which ends it in its turn.
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep multiprocessing from running this program's main module again in the child."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _run(
    log: Path, environment: Mapping[str, str], function: Callable[..., None], arguments: Any
) -> None:
    """In the new process: become one of its own, then do what it is for."""
    # Ctrl-C in a terminal is for the run, which stops its processes in their turn.
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    _let_go_of_fork_server()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        function(*arguments)
    except SystemExit:
        raise
    except BaseException:
        # multiprocessing would print it too, but after its own line.
        traceback.print_exc()
        sys.stderr.flush()
        sys.exit(1)


def _let_go_of_fork_server() -> None:
    """Let the fork server end with the run, and this process with it.

    It ends when nobody has the other end of its pipe, and it hands that on to each process that it
    forks, for them to fork others.
    """
    server: Any = forkserver._forkserver  # there is no public way
    os.close(server._forkserver_alive_fd)
    server._forkserver_alive_fd = None
