"""Servers under test, each in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Server(NamedTuple):
    """A server under test."""

    url: str
    pid: int


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def echo_server() -> Iterator[str]:
    """The bare HTTP echo; yields its URL."""
    port = free_port()
    with _running([sys.executable, "-m", "bench.echo_server", str(port)], port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def broker(durability: str) -> Iterator[Server]:
    """A broker with a fresh data directory."""
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory:
        data = None if durability == "memory" else Path(directory)
        with broker_on(data, durability) as server:
            yield server


@contextmanager
def broker_on(data: Path | None, durability: str) -> Iterator[Server]:
    """A broker with a data directory."""
    port = free_port()
    command = [sys.executable, "-m", "forebay", "serve", "--port", str(port)]
    command += ["--durability", durability]
    command += [] if data is None else ["--data", str(data)]
    with _running(command, port) as pid:
        yield Server(f"http://127.0.0.1:{port}", pid)


def resident_mb(server: Server) -> float:
    """The memory that a server holds, in MB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1000


@contextmanager
def server(command: list[str], port: int, environment: dict[str, str]) -> Iterator[Server]:
    """Somebody else's server."""
    with _running(command, port, environment) as pid:
        yield Server(f"http://127.0.0.1:{port}", pid)


@contextmanager
def _running(
    command: list[str], port: int, environment: dict[str, str] | None = None
) -> Iterator[int]:
    """Run a server and wait until it listens; yields its process id."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            if not _listens(process, port):
                log.seek(0)
                raise RuntimeError(f"{command} does not listen:\n{log.read().decode()}")
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False
