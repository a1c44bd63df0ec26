"""The processes of `forebay worker run`: started, watched, started again, drained."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from msgspec import DecodeError, Struct

from forebay.clock import Clock, SystemClock
from forebay.observability.view import (
    ProcessState,
    ProcessView,
    WorkersView,
    carried_on,
    ledger_of,
    left_behind,
)
from forebay.producer.snapshot import ProducerSnapshot
from forebay.supervisor.reports import (
    REPORT_BYTES_MAX,
    Ended,
    Loaded,
    Order,
    Refused,
    Report,
    Seen,
    decode,
)
from forebay.supervisor.restarts import death, deaths_in_a_row, pause_s
from forebay.worker.ledger import WorkerLedger
from forebay.worker.snapshot import WorkerSnapshot
from forebay.worker.waiting import wait_at_most

_log = logging.getLogger(__name__)

#: Makes the command line of a process from its number and the file descriptor of its socket.
Command: TypeAlias = Callable[[int, int], Sequence[str]]

#: What was lost longer ago counts no more when the processes end: it has come back. Visibility
#: timeouts that are longer are seldom. In milliseconds.
_HIDDEN_MAX_MS = 3_600_000

#: How many losses are remembered with their times.
_LOSSES_KEPT = 1_000

#: How much longer than it said a drain may take until the process counts as hanging, in seconds.
GRACE_S = 5.0

#: How long a process may take to give everything back when it is told to, in seconds.
RELEASE_S = 15.0

#: How long a process that has not found its worker yet may take to end, in seconds.
_UNLOADED_DRAIN_S = 10.0

#: Where a process is when its worker is in this state.
_STATES = {
    # It looks for its queues.
    "starting": ProcessState.STARTING,
    "working": ProcessState.WORKING,
    "draining": ProcessState.DRAINING,
    "stopped": ProcessState.DRAINING,
}


class Stopped(Struct, frozen=True):
    """How the processes ended."""

    ledger: WorkerLedger
    #: Everything that went wrong at the end, in words; nothing went wrong when it is empty.
    troubles: tuple[str, ...]
    #: Why no worker could be started at all, because the settings are wrong.
    refused: str | None = None


class Supervisor:
    """Keeps a number of processes running, each with a worker of its own.

    One that dies is started again after a pause, for ever. `stop` drains them; a second
    `stop` has them give back what is in hand at once. What has not ended after the time that its
    drain takes, and a grace, is killed and reported.
    """

    def __init__(
        self,
        command: Command,
        processes: int,
        *,
        clock: Clock | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._clock = clock = clock or SystemClock()
        self._processes = [
            _Process(number, command, self._refuse, clock, grace_s)
            for number in range(1, processes + 1)
        ]
        self._refused: str | None = None

    @property
    def stopping(self) -> bool:
        """Whether the drain has begun."""
        return all(process.order is not None for process in self._processes)

    def stop(self) -> None:
        """Begin the drain; called again, end at once. Calls beyond that change nothing."""
        order = Order.RELEASE if self.stopping else Order.DRAIN
        for process in self._processes:
            process.stop(order)

    def view(self) -> WorkersView:
        """All processes as they are now."""
        return WorkersView(
            at_ms=self._clock.wall_ms(),
            processes=[process.view() for process in self._processes],
        )

    async def run(self) -> Stopped:
        """Run until `stop`, or until the first process refuses its settings for good."""
        async with asyncio.TaskGroup() as tasks:
            for process in self._processes:
                tasks.create_task(self._keep(process))
        snapshots = self.view().snapshots()
        return Stopped(
            sum((ledger_of(snapshot) for snapshot in snapshots), WorkerLedger()),
            tuple(trouble for process in self._processes for trouble in process.troubles()),
            self._refused,
        )

    async def _keep(self, process: _Process) -> None:
        while process.order is None:
            await process.live()
            await process.rest()

    def _refuse(self, message: str) -> None:
        """A process says that its settings are wrong: end, unless it has worked with them before.

        What works elsewhere, or has worked, proves that they can, as before a bad deploy.
        """
        if not any(process.ever_worked for process in self._processes):
            self._refused = self._refused or message
            for process in self._processes:
                process.discard()


class _Process:
    """The processes of one number, one after the other."""

    def __init__(
        self,
        number: int,
        command: Command,
        refuse: Callable[[str], None],
        clock: Clock,
        grace_s: float,
    ) -> None:
        self._number = number
        self._command = command
        self._refuse = refuse
        self._clock = clock
        self._grace_s = grace_s
        self.order: Order | None = None
        self._look_again = asyncio.Event()
        self.ever_worked = False
        self._state = ProcessState.STARTING
        self._child: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._started_ms = clock.monotonic_ms()
        self._heard_ms: int | None = None
        self._drain_s: float | None = None
        self._ended: Ended | None = None
        self._refusal: Refused | None = None
        #: Whether the worker of this process has found its queues.
        self._worked = False
        self._deaths = 0
        self._in_a_row = 0
        self._died = ""
        #: The counts of those before this one, and of all with this one.
        self._past: WorkerSnapshot | None = None
        self._snapshot: WorkerSnapshot | None = None
        self._producers: list[ProducerSnapshot] = []
        #: What was wrong with its end though it was told to end; empty when nothing was.
        self._failure = ""
        #: When messages were lost, and how many it were in all then.
        self._losses: deque[tuple[int, int]] = deque(maxlen=_LOSSES_KEPT)

    def view(self) -> ProcessView:
        now_ms = self._clock.monotonic_ms()
        return ProcessView(
            number=self._number,
            process_id=None if self._child is None else self._child.pid,
            state=self._state,
            up_s=0.0 if self._child is None else (now_ms - self._started_ms) / 1000,
            heard_ago_s=None if self._heard_ms is None else (now_ms - self._heard_ms) / 1000,
            deaths=self._deaths,
            died=self._died,
            snapshot=self._snapshot,
            producers=self._producers,
        )

    def _lost_lately(self) -> int:
        """Messages that are lost and may still be hidden."""
        until_ms = self._clock.monotonic_ms() - _HIDDEN_MAX_MS
        earlier = [lost for at_ms, lost in self._losses if at_ms <= until_ms]
        return self._losses[-1][1] - max(earlier, default=0) if self._losses else 0

    def _show(self, snapshot: WorkerSnapshot) -> None:
        self._snapshot = snapshot
        lost = ledger_of(snapshot).lost
        if lost > (self._losses[-1][1] if self._losses else 0):
            self._losses.append((self._clock.monotonic_ms(), lost))

    def troubles(self) -> list[str]:
        """What a user must know of the end, beside the log."""
        lost = self._lost_lately()
        troubles = [f"Process {self._number} {self._failure}."] if self._failure else []
        if lost:
            troubles.append(
                f"Process {self._number} lost {messages(lost)}, to be delivered again after the"
                " visibility timeout."
            )
        return troubles

    def stop(self, order: Order) -> None:
        """Have the process end; the same order twice is one."""
        if self.order in (order, Order.RELEASE):
            return
        self.order = order
        self._look_again.set()
        self._tell(order)

    def discard(self) -> None:
        """End a process that has not worked, and so has nothing in hand. It says nothing."""
        self.order = Order.RELEASE
        self._look_again.set()
        if self._child is not None and self._child.returncode is None:
            _kill(self._child)

    def _tell(self, order: Order) -> None:
        if self._writer is not None:
            self._writer.write(bytes([order]))

    async def rest(self) -> None:
        """Wait until the next one may be started, or an order comes."""
        self._look_again.clear()
        if self.order is None:
            await wait_at_most(self._clock, pause_s(self._in_a_row), self._look_again)

    async def live(self) -> None:
        """Start a process and wait for its end."""
        self._state, self._heard_ms = ProcessState.STARTING, None
        self._drain_s, self._ended, self._refusal, self._worked = None, None, None, False
        self._started_ms = self._clock.monotonic_ms()
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours, limit=REPORT_BYTES_MAX)
        try:
            with theirs:
                # In a session of its own the terminal's Ctrl-C does not reach it.
                child = await asyncio.create_subprocess_exec(
                    *self._command(self._number, theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except OSError as error:
            writer.close()
            self._finish(None, f"it could not be started: {error.strerror}")
            return
        self._child, self._writer = child, writer
        if self.order is not None:
            self._tell(self.order)
        try:
            listening = asyncio.create_task(self._listen(reader))
            await self._wait_for_end(child)
            # What it said last is in the socket still.
            await listening
        finally:
            self._writer = None
            writer.close()
            if child.returncode is None:
                _kill(child)
                await child.wait()
        assert child.returncode is not None
        self._finish(child.pid, self._cause(child.returncode))
        self._judge(child.returncode)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, ValueError, DecodeError):
            while line := await reader.readline():
                self._heard_ms = self._clock.monotonic_ms()
                self._take(decode(line))

    def _take(self, report: Report) -> None:
        match report:
            case Loaded():
                self._drain_s = report.drain_s
            case Refused():
                self._refusal = report
            case Seen():
                self._producers = report.producers
                self._show(carried_on(self._past, report.snapshot))
                self._state = _STATES[report.snapshot.state]
                if self._state is ProcessState.WORKING:
                    self._worked = self.ever_worked = True
            case Ended():
                self._ended = report
                self._look_again.set()
                self._show(carried_on(self._past, report.snapshot))
                self._state = ProcessState.DRAINING

    async def _wait_for_end(self, child: asyncio.subprocess.Process) -> None:
        """Wait until the process has ended; kill it when it does not end though it was told to."""
        ending = asyncio.ensure_future(child.wait())
        while not ending.done():
            patience_s = self._patience_s()
            self._look_again.clear()
            told = asyncio.ensure_future(self._look_again.wait())
            await asyncio.wait(
                (ending, told), timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
            in_time = told.done() or ending.done()
            told.cancel()
            if not in_time and patience_s is not None:
                self._report_hanging(patience_s)
                _kill(child)
                await ending

    def _patience_s(self) -> float | None:
        """How long the process may still take to end; None for ever."""
        if self._ended is not None:
            return self._grace_s
        if self.order is None:
            return None
        if self.order is Order.RELEASE:
            return RELEASE_S
        drain_s = _UNLOADED_DRAIN_S if self._drain_s is None else self._drain_s
        return drain_s + self._grace_s

    def _report_hanging(self, patience_s: float) -> None:
        if self._ended is not None:
            _log.warning(
                "Process %d has drained, but has not ended %g s later, and is killed: a thread of"
                " it goes on.",
                self._number,
                patience_s,
            )
            return
        self._failure = "hung and was killed"
        _log.error(
            "Process %d has not ended %.0f s after it was told to, and is killed. It has %s in"
            " hand, to be delivered again after the visibility timeout.",
            self._number,
            patience_s,
            messages(self._in_hand()),
        )

    def _in_hand(self) -> int:
        return 0 if self._snapshot is None else ledger_of(self._snapshot).in_hand

    def _finish(self, process_id: int | None, cause: str) -> None:
        """Take note of how it ended."""
        in_hand = self._in_hand()
        lived_s = (self._clock.monotonic_ms() - self._started_ms) / 1000
        if self._snapshot is not None:
            self._past = left_behind(self._snapshot)
            self._show(self._past)
        self._producers = []
        self._child = None
        if self.order is not None:
            self._state = ProcessState.STOPPED
            return
        self._state = ProcessState.DEAD
        self._deaths += 1
        self._in_a_row = deaths_in_a_row(self._in_a_row, lived_s)
        self._died = cause
        _log.error(
            "Process %d%s has ended after %.1f s: %s.%s It is started again in %g s%s.",
            self._number,
            "" if process_id is None else f" (pid {process_id})",
            lived_s,
            cause,
            f" It had {messages(in_hand)} in hand, to be delivered again after the visibility"
            " timeout."
            if in_hand
            else "",
            pause_s(self._in_a_row),
            f"; it has died {self._in_a_row} times in a row" if self._in_a_row > 1 else "",
        )

    def _judge(self, exit_code: int) -> None:
        """Note when a worker that was told to end has ended badly in another way than by a loss."""
        if self.order is None or not self._worked or self._failure:
            return
        if self._ended is None and exit_code != 0:
            self._failure = f"ended with {death(exit_code)} before it had drained"
        elif self._ended is not None and not self._ended.ledger.lost and exit_code > 0:
            self._failure = f"failed after its drain, with {death(exit_code)}; see the log"

    def _cause(self, exit_code: int) -> str:
        refusal = self._refusal
        if refusal is not None:
            if refusal.for_good:
                self._refuse(refusal.message)
            return refusal.message.rstrip(".")
        if self._ended is not None and exit_code == 0:
            return "its worker was stopped by somebody else"
        return death(exit_code)


def _kill(child: asyncio.subprocess.Process) -> None:
    """SIGKILL to the process and to whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def messages(count: int) -> str:
    """How many messages, in words."""
    return f"{count:,} message{'' if count == 1 else 's'}"
