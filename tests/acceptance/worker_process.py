"""Processes of `worker_program.py`, and what they did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

import msgspec

from tests.acceptance.worker_program import Event, Place

T = TypeVar("T")

#: How long anything may take that a busy machine makes slow, in seconds.
PATIENCE_S = 60.0


class WorkerProcess:
    """One process, and what it logs. SIGKILL ends it with the block if it still runs."""

    def __init__(self, place: Place, log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.worker_program"],
                env=os.environ | {"WORKER_PLACE": msgspec.json.encode(place).decode()},
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

    def stop(self, patience_s: float = PATIENCE_S) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.end(patience_s)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._process.kill()
        self._process.wait()

    def wait_until_it_says(self, text: str, patience_s: float = PATIENCE_S) -> None:
        wait_for(lambda: text in self.output, f"{text!r}", patience_s, lambda: self.output)


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
                # The last one may still be written.
                if line.endswith(b"\n"):
                    self._read_bytes += len(line)
                    yield line


def events(journal: Path) -> list[Event]:
    """Everything that handlers have noted."""
    return [msgspec.json.decode(line, type=Event) for line in Lines(journal).new()]


def wait_for(
    condition: Callable[[], T],
    what: str,
    patience_s: float = PATIENCE_S,
    said: Callable[[], str] = lambda: "",
) -> T:
    """What the condition is once it is true."""
    deadline = monotonic() + patience_s
    while not (found := condition()):
        assert monotonic() < deadline, f"no {what} within {patience_s} s\n{said()}"
        sleep(0.01)
    return found


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
