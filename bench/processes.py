"""Servers under test, each in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager


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
def broker(durability: str) -> Iterator[str]:
    """A broker with a fresh data directory; yields its endpoint URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory:
        command = [sys.executable, "-m", "forebay", "serve", "--port", str(port)]
        command += ["--durability", durability]
        command += [] if durability == "memory" else ["--data", directory]
        with _running(command, port):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_until_listening(process, port)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} did not listen on port {port} within 15 s")
