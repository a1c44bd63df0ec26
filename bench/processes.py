"""Servers under test, each in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

#: Where a process's parent and times stand behind its name, counted from 0.
#: Source: proc_pid_stat(5).
_PARENT, _UTIME, _CSTIME = 1, 11, 14


T = TypeVar("T")


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
    with _own_server("bench.echo_server") as url:
        yield url


@contextmanager
def canned_server() -> Iterator[str]:
    """The server whose answers are ready beforehand; yields its URL."""
    with _own_server("bench.canned_server") as url:
        yield url


@contextmanager
def silent_server() -> Iterator[str]:
    """The server that accepts connections and never answers; yields its URL."""
    with _own_server("bench.silent_server") as url:
        yield url


@contextmanager
def _own_server(module: str) -> Iterator[str]:
    port = free_port()
    with _running([sys.executable, "-m", module, str(port)], port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def broker(durability: str, module: str = "forebay") -> Iterator[Server]:
    """A broker with a fresh data directory. `module` is what runs as `forebay`."""
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory:
        data = None if durability == "memory" else Path(directory)
        with broker_on(data, durability, module) as server:
            yield server


@contextmanager
def broker_on(
    data: Path | None, durability: str, module: str = "forebay", port: int | None = None
) -> Iterator[Server]:
    """A broker with a data directory, on a port or on a free one."""
    port = port or free_port()
    command = [sys.executable, "-m", module, "serve", "--port", str(port)]
    command += ["--durability", durability]
    command += [] if data is None else ["--data", str(data)]
    with _running(command, port) as pid:
        yield Server(f"http://127.0.0.1:{port}", pid)


def resident_mb(server: Server) -> float:
    """The memory that a server holds, in MB."""
    return _memory_mb(server.pid, "status", "VmRSS:")


def peak_mb(pid: int) -> float:
    """The most memory that a process and its descendants have held, each at its time, in MB."""
    return sum(_memory_mb(member, "status", "VmHWM:") for member in _family(pid))


def family_mb(pid: int) -> float:
    """The memory of a process and its descendants, in MB; what they share counts once.

    Raises PermissionError for processes of another user.
    """
    return sum(_memory_mb(member, "smaps_rollup", "Pss:") for member in _family(pid))


def _memory_mb(pid: int, file: str, name: str) -> float:
    """A line of one of the process's files; 0 for one that has just ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1000
    return 0.0


def cpu_s(pid: int) -> float:
    """The processor time, user and system, of a process and its descendants, in seconds.

    Those that have ended count once their parent has waited for them.
    """
    ticks = sum(sum(map(int, fields[_UTIME : _CSTIME + 1])) for fields in _family(pid).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def end_family(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """SIGTERM to a process, and SIGKILL to what is left of it and its descendants after a time."""
    family = list(_family(process.pid))
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
    for member in {*family, *_family(process.pid)}:
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    process.wait()


def _family(pid: int) -> dict[int, list[str]]:
    """A process and its descendants, with the fields of their stat files behind their names.

    Linux only.
    """
    everybody = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            everybody[int(stat.parent.name)] = stat.read_text().rpartition(")")[2].split()
    members = {pid}
    size = 0
    while size < len(members):
        size = len(members)
        members |= {one for one, fields in everybody.items() if int(fields[_PARENT]) in members}
    return {member: everybody[member] for member in members if member in everybody}


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


def answer_of(module: str, question: Struct, kind: type[T], patience_s: float) -> T:
    """Run `python -m MODULE QUESTION` and decode what it prints; both are JSON.

    Raises RuntimeError with what it said when it fails or takes longer than `patience_s`.
    """
    command = [sys.executable, "-m", module, msgspec.json.encode(question).decode()]
    try:
        done = subprocess.run(command, capture_output=True, timeout=patience_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{module} took longer than {patience_s:g} s") from error
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout, type=kind)
