"""One process of `forebay worker run`: finds its worker, runs it, and says how it fares."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvloop
from msgspec import Struct
from msgspec.structs import replace

from forebay.errors import ForebayError, SettingsError
from forebay.parameters.address import VARIABLE as PARAMETERS_VARIABLE
from forebay.parameters.live import POLL_S
from forebay.producer.producer import producers_of_process
from forebay.supervisor.reports import Ended, Loaded, Order, Refused, Report, Seen, encode
from forebay.supervisor.target import opened
from forebay.tunables import following
from forebay.worker.check import Severity, drain_s, problems, short
from forebay.worker.inspection import has_plain, inspected
from forebay.worker.ledger import WorkerLedger
from forebay.worker.queue import Queue
from forebay.worker.worker import Worker

_log = logging.getLogger(__name__)

#: How often a process says how it fares, in seconds.
REPORT_EVERY_S = 1.0

#: How long the last report may take where the process above does not read, in seconds.
_LAST_REPORT_S = 5.0

#: How much longer than its drain a process lives whose parent has died, in seconds.
_ORPHAN_GRACE_S = 5.0

#: Exit codes: nothing was lost; something was, or the worker failed; the settings are wrong.
CLEAN, FAILED, REFUSED = 0, 1, 2


class ChildSettings(Struct, frozen=True, kw_only=True):
    """What a process is told by the one above it."""

    number: int
    target: str
    #: Where modules are looked for first.
    directory: str
    #: The queues to serve; all of the worker's when none is named.
    queues: list[str] = []
    drain_timeout_s: float | None = None
    #: How often the parameters are looked at, in seconds; None follows none. Where they are stands
    #: in the environment, as their URL may hold a password.
    parameters_poll_s: float | None = None


def run_child(settings: ChildSettings, parent: socket.socket) -> int:
    """Run the worker until an order, SIGTERM or the death of the parent ends it.

    Returns the exit code. Ends the process itself when a handler hangs.
    """
    # Ctrl-C means the process above, which drains this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = _ParentLine(parent)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings, line))


async def _work(settings: ChildSettings, line: _ParentLine) -> int:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, line.obey, Order.DRAIN)
    line.listen(loop)
    try:
        async with opened(settings.target, Path(settings.directory)) as found:
            worker = adjusted(found, settings)
            poll_s = settings.parameters_poll_s
            store = None if poll_s is None else os.environ[PARAMETERS_VARIABLE]
            async with following(store, worker=worker, poll_s=poll_s or POLL_S):
                ledger = await _run(worker, line, check=settings.number == 1)
            snapshot = worker.snapshot()
            await line.say(Ended(snapshot, ledger))
    except ForebayError as error:
        for_good = isinstance(error, SettingsError)
        await line.say(Refused(f"{error}", for_good))
        return REFUSED if for_good else FAILED
    if snapshot.hanging:
        # Python would wait for its threads, and nothing can stop them.
        logging.shutdown()
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(FAILED)
    return FAILED if ledger.lost else CLEAN


async def _run(worker: Worker, line: _ParentLine, *, check: bool) -> WorkerLedger:
    line.drain_s = drain_s(worker.settings, plain=has_plain(worker))
    await line.say(Loaded(line.drain_s))
    line.follow(lambda now: worker.stop(now=now))
    beside = [asyncio.create_task(_report(worker, line))]
    if check:
        beside.append(asyncio.create_task(_warn(worker)))
    try:
        return await worker.run()
    finally:
        for task in beside:
            task.cancel()


async def _warn(worker: Worker) -> None:
    """Log what is wrong with the worker's set-up."""
    try:
        queues = await inspected(worker)
        found = problems([queue for queue in queues if queue.exists], worker.settings)
    except ForebayError:
        # The worker itself says so, and goes on trying.
        return
    for problem in found:
        if problem.severity is not Severity.NOTE:
            _log.warning("%s: %s", problem.subject, problem.text)


async def _report(worker: Worker, line: _ParentLine) -> None:
    while True:
        producers = [producer.snapshot() for producer in producers_of_process()]
        await line.say(Seen(worker.snapshot(), producers))
        await asyncio.sleep(REPORT_EVERY_S)


def adjusted(worker: Worker, settings: ChildSettings) -> Worker:
    """The worker with what the command line says otherwise."""
    queues = worker.queues
    if settings.queues:
        known = [short(queue) for queue in queues]
        asked = [short(Queue(name)) for name in settings.queues]
        for name in asked:
            if name not in known:
                raise SettingsError(
                    f"--queue {name}: {settings.target} serves {', '.join(known)} only."
                )
        queues = tuple(queue for queue in queues if short(queue) in asked)
    own = worker.settings
    if settings.drain_timeout_s is not None:
        own = replace(own, drain_timeout_s=settings.drain_timeout_s)
    if queues == worker.queues and own == worker.settings:
        return worker
    return worker.but(queues=queues, settings=own)


class _ParentLine:
    """The socket to the process above."""

    def __init__(self, parent: socket.socket) -> None:
        parent.setblocking(False)
        self._socket = parent
        self._stop: Callable[[bool], object] | None = None
        self._order: Order | None = None
        self._gone = False
        #: How long the worker may take to drain; nothing while there is none.
        self.drain_s = 0.0

    async def say(self, report: Report) -> None:
        """Tell the parent. One that has died or does not listen any more is no trouble."""
        if self._gone:
            return
        sending = asyncio.get_running_loop().sock_sendall(self._socket, encode(report))
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LAST_REPORT_S if isinstance(report, Ended) else None):
                await sending

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear orders from now on, in a thread: a loop that is held up must not hide them."""
        threading.Thread(target=self._hear, args=(loop,), name="orders", daemon=True).start()

    def follow(self, stop: Callable[[bool], object]) -> None:
        """Have orders stop the worker; also one that has come already."""
        self._stop = stop
        if self._order is not None:
            stop(self._order is Order.RELEASE)

    def obey(self, order: Order) -> None:
        """Carry out an order, in the loop's thread."""
        if self._order is not Order.RELEASE:
            self._order = order
        if self._stop is not None:
            self._stop(order is Order.RELEASE)

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            select.select([self._socket], [], [])
            try:
                heard = self._socket.recv(64)
            except BlockingIOError:
                continue
            except OSError:
                heard = b""
            with suppress(RuntimeError):  # the loop is closed: the process is ending anyway
                for byte in heard:
                    loop.call_soon_threadsafe(self.obey, Order(byte))
            if not heard:
                self._gone = True
                self._end_alone(loop)
                return

    def _end_alone(self, loop: asyncio.AbstractEventLoop) -> None:
        """The parent has died: drain, and end in any case."""
        _log.warning("The process above has died; this one drains and ends.")
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self.obey, Order.DRAIN)
        time.sleep(self.drain_s + _ORPHAN_GRACE_S)
        _log.error("This process has not drained in time and ends.")
        os._exit(FAILED)
