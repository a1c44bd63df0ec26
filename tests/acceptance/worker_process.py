"""Processes of `worker_program.py`, and what they did."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from time import monotonic

import msgspec

from forebay import SqsClient
from forebay.protocol.actions import GetQueueAttributesRequest
from tests.acceptance.worker_program import Event, Place

#: How long anything may take that a busy machine makes slow, in seconds.
PATIENCE_S = 60.0


_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


#: The program by itself, and under `forebay worker run`, which starts it as another process.
ALONE = ("tests.acceptance.worker_program",)
SUPERVISED = (
    *("forebay", "worker", "run", "--port", "0"),
    "tests.acceptance.worker_program:worker",
)


class WorkerProcess:
    """One worker, and what it logs. SIGKILL ends it with the block if it still runs."""

    def __init__(
        self,
        place: Place,
        log: Path,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] = ALONE,
    ) -> None:
        self._log = log
        variables = {"WORKER_PLACE": msgspec.json.encode(place).decode()}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**os.environ, **variables, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for its end, and return its exit code."""
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It goes on after {patience_s} s:\n{self.output}") from None

    async def says(self, text: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until it has logged a text. It must not end before."""
        deadline = monotonic() + patience_s
        while text not in self.output:
            assert self.runs, self.output
            assert monotonic() < deadline, f"no {text!r} within {patience_s} s:\n{self.output}"
            await asyncio.sleep(0.02)

    def stop(self, patience_s: float = PATIENCE_S) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.end(patience_s)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._process.kill()
        self._process.wait()


class Lines:
    """The lines of a growing file of JSON, each read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0

    def new(self) -> Iterator[bytes]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            for line in file:
                # The last one may still be written: what comes after it here would be its end.
                if not line.endswith(b"\n"):
                    return
                self._read_bytes += len(line)
                yield line


class Fleet:
    """Workers that run beside each other, each replaced when a test says so.

    `signs` is a file to which whatever they do adds lines with their process ids.
    """

    def __init__(
        self,
        place: Place,
        directory: Path,
        stack: ExitStack,
        signs: Path,
        size: int,
        command: tuple[str, ...] = ALONE,
    ) -> None:
        self._place = place
        self._directory = directory
        self._stack = stack
        self._command = command
        self._numbers = count()
        self._signs = Lines(signs)
        #: The processes that have done anything.
        self._at_work: set[int] = set()
        self.workers = [self._start() for _ in range(size)]

    def replace(self, index: int) -> WorkerProcess:
        """Start another worker in the place of one, which it returns."""
        old, self.workers[index] = self.workers[index], self._start()
        return old

    async def at_work(self, index: int) -> None:
        """Wait until a worker does something."""
        deadline = monotonic() + PATIENCE_S
        while self.workers[index].process_id not in self._at_work:
            for number, worker in enumerate(self.workers):
                if not worker.runs:
                    self.lost(number)
            assert monotonic() < deadline, self.workers[index].output
            await asyncio.sleep(0.01)
            for line in self._signs.new():
                sign = msgspec.json.decode(line, type=_Sign)
                self._at_work |= {sign.process_id, sign.parent_id}

    async def all_at_work(self) -> None:
        """Wait until every worker does something."""
        for index in range(len(self.workers)):
            await self.at_work(index)

    def lost(self, index: int) -> None:
        """A worker has ended by itself."""
        raise AssertionError(self.workers[index].output)

    async def stop(self) -> None:
        """SIGTERM to all, and a clean end of each."""
        for worker in self.workers:
            worker.signal(signal.SIGTERM)
        for worker in self.workers:
            assert await asyncio.to_thread(worker.end) == 0, worker.output

    def _start(self) -> WorkerProcess:
        log = self._directory / f"worker-{next(self._numbers)}.log"
        return self._stack.enter_context(WorkerProcess(self._place, log, command=self._command))


class _Sign(msgspec.Struct):
    process_id: int
    parent_id: int = 0


def events(journal: Path) -> list[Event]:
    """Everything that handlers have noted."""
    return [msgspec.json.decode(line, type=Event) for line in Lines(journal).new()]


async def messages_in(client: SqsClient, queue_url: str) -> tuple[int, int]:
    """How many messages of a queue are visible, and how many hidden."""
    request = GetQueueAttributesRequest(queue_url=queue_url, attribute_names=list(_COUNTS))
    attributes = (await client.get_queue_attributes(request)).attributes or {}
    visible, hidden = (int(attributes[name]) for name in _COUNTS)
    return visible, hidden


async def left_when_drained(client: SqsClient, queue_url: str) -> int:
    """Wait until no message is left. Returns how many are when patience ends before."""
    deadline = monotonic() + PATIENCE_S
    while left := sum(await messages_in(client, queue_url)):
        if monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    return left


@contextmanager
def effect_server(log: Path) -> Iterator[str]:
    """The effect server; yields its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.effect_server", str(log)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()
