"""`forebay worker run` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

#: How long a worker may take to start, to stop or to show what is waited for, in seconds.
PATIENCE_S = 30.0

HERE = Path(__file__).parent


class WorkerRun:
    """One run of `forebay worker run`, killed at the end of the block if it still runs."""

    def __init__(self, *arguments: str, directory: Path = HERE, **environment: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `__exit__`
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "forebay", "worker", "run", *arguments],
            cwd=directory,
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> WorkerRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    @property
    def process_id(self) -> int:
        return self._process.pid

    def url(self) -> str:
        """Where health and metrics are, once they are."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"it did not start: {self.end()}"
        return line.split()[3].removesuffix("/health,")

    def working(self, processes: int = 1) -> tuple[str, list[dict[str, Any]]]:
        """The URL, and all processes once each of them works."""
        url = self.url()
        return url, until(lambda: working_processes(url, processes))

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for its end: exit code, and all that it wrote to standard error."""
        code = self._process.wait(PATIENCE_S)
        return code, self.errors()

    def errors(self) -> str:
        """What it has written to standard error so far."""
        # A seek would move the end that the process writes at: it has the same open file.
        file = self._errors.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode()


def until(look: Callable[[], Any]) -> Any:
    """What `look` gives once it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(0.05)
    raise AssertionError("It has not come about.")


def get(url: str) -> tuple[int, str]:
    """The status and the body of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def working_processes(url: str, count: int) -> list[dict[str, Any]]:
    """The processes if as many work, else none."""
    processes = json.loads(get(f"{url}/snapshot")[1])["processes"]
    states = [process["state"] for process in processes]
    return processes if states == ["working"] * count else []


def runs(process_id: int) -> bool:
    """Whether there is such a process, and it is not just waiting to be buried."""
    try:
        return f"{process_id} (" in Path(f"/proc/{process_id}/stat").read_text() and ") Z " not in (
            Path(f"/proc/{process_id}/stat").read_text()
        )
    except OSError:
        return False
