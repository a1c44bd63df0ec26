"""`forebay serve` as a process of its own."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from forebay.apps.crew import free_ports

#: How long a broker may take to start or to stop, in seconds.
PATIENCE_S = 20.0


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]


class ServeProcess:
    """One run of `forebay serve`, killed at the end of the block if it still runs.

    `module` is what runs as `forebay`.
    """

    def __init__(
        self, *arguments: str, directory: Path | None = None, module: str = "forebay"
    ) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `kill`
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "serve", *arguments],
            cwd=directory,
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> ServeProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def wait_until_it_serves(self) -> str:
        """The first line it prints, which names its endpoint."""
        return self.read_lines("serves SQS at")[-1]

    def read_lines(self, text: str) -> list[str]:
        """What it prints up to and with the line that has `text`."""
        assert self._process.stdout is not None
        lines: list[str] = []
        while not lines or text not in lines[-1]:
            lines.append(self._process.stdout.readline())
            if not lines[-1]:
                raise AssertionError(f"The broker did not start: {self.end()}")
        return lines

    @property
    def endpoint_url(self) -> str:
        """Where it serves, once it does."""
        found = re.search(r"https?://\S+", self.wait_until_it_serves())
        assert found is not None
        return found[0]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def limit_files(self, size_bytes: int) -> None:
        """Let none of its files grow beyond a size, as on a full disk. Linux only."""
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size_bytes, hard))

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, and what is left of its output and of its errors."""
        # Not `communicate`, which passes over what earlier reads of a line have buffered.
        assert self._process.stdout is not None
        output = self._process.stdout.read()
        code = self._process.wait(PATIENCE_S)
        self._errors.seek(0)
        return code, output, self._errors.read()

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()
