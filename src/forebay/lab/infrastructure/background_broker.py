"""The lab's own broker, `forebay serve` in the background, which outlives the command."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from forebay.errors import ForebayError
from forebay.lab.infrastructure.directory import LabDirectory

#: Where it listens.
_HOST = "127.0.0.1"

#: How long it may take to listen, and to stop, in seconds.
_PATIENCE_S = 30.0

#: How often it is looked whether it does, in seconds.
_LOOK_S = 0.02

#: Lines of its log that are shown when it has not started.
_TAIL_LINES = 10

_SERVES = re.compile(rb"serves SQS at (http://\S+)")


class PortTaken(ForebayError):
    """Another program listens on the port."""


class BrokerNotStarted(ForebayError):
    """The lab's broker has not started."""


class BrokerHangs(ForebayError):
    """The lab's broker has not stopped."""


class RunningBroker(Struct, frozen=True):
    """The broker of a lab while it runs."""

    pid: int
    endpoint_url: str
    region: str


def running_broker(directory: LabDirectory) -> RunningBroker | None:
    """The broker of this lab; None when it does not run."""
    try:
        with _locked(directory.broker_state):
            return None
    except BlockingIOError:
        return _until_written(directory)
    except FileNotFoundError:
        return None


def last_endpoint_url(directory: LabDirectory) -> str | None:
    """Where the lab's broker serves, or served before it ended; None when there was none."""
    try:
        return _read(directory).endpoint_url
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def start_broker(directory: LabDirectory, port: int, region: str) -> RunningBroker:
    """Start the broker of a lab, and wait until it listens; port 0 is a free one.

    When another process is just starting it, that one is waited for. Raises PortTaken,
    BrokerNotStarted with the end of its log, and what LabDirectory.make raises.
    """
    directory.make()
    directory.broker_state.touch()
    try:
        with _locked(directory.broker_state) as lock:
            _require_free(port)
            os.truncate(lock, 0)
            running = _start(directory, port, region, lock)
            os.write(lock, msgspec.json.encode(running))
    except BlockingIOError:
        return _until_written(directory)
    return running


def stop_broker(directory: LabDirectory, broker: RunningBroker) -> None:
    """SIGTERM the broker of a lab, and wait until it has answered what it owes and is gone.

    Raises BrokerHangs.
    """
    with suppress(ProcessLookupError):
        os.kill(broker.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + _PATIENCE_S
    while running_broker(directory) is not None:
        if time.monotonic() > deadline_s:
            raise BrokerHangs(
                f"The broker, process {broker.pid}, has not stopped within {_PATIENCE_S:g} s of"
                f" SIGTERM. See {directory.broker_log}, or end it with SIGKILL."
            )
        time.sleep(_LOOK_S)


@contextmanager
def _locked(state: Path) -> Iterator[int]:
    """Hold the lock that a broker holds while it runs. Raises BlockingIOError when one does."""
    lock = os.open(state, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    finally:
        os.close(lock)


def _start(directory: LabDirectory, port: int, region: str, lock: int) -> RunningBroker:
    with directory.broker_log.open("wb") as log:
        # Options win over variables of the environment; what is not named here, such as
        # FOREBAY_TIME_SCALE, is taken from it. It keeps the lock, with its copy of the descriptor.
        broker = subprocess.Popen(  # noqa: S603 - a program of ours
            [
                *(sys.executable, "-m", "forebay", "serve"),
                *("--host", _HOST, "--port", str(port), "--region", region),
                *("--data", str(directory.broker_data), "--durability", "os"),
                *("--log-format", "text"),
            ],
            env={**os.environ, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,
        )
    try:
        endpoint_url = _until_it_serves(broker, directory.broker_log)
    except BaseException:
        broker.kill()
        broker.wait()
        raise
    # It is to outlive this process: nobody waits for it here.
    broker.returncode = 0
    return RunningBroker(broker.pid, endpoint_url, region)


def _read(directory: LabDirectory) -> RunningBroker:
    return msgspec.json.decode(directory.broker_state.read_bytes(), type=RunningBroker)


def _until_written(directory: LabDirectory) -> RunningBroker:
    """What the process that starts the broker writes down as soon as it listens."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _read(directory)
        except msgspec.DecodeError:
            if time.monotonic() > deadline_s:
                raise BrokerNotStarted(
                    "Another `forebay lab up` is starting the broker and does not get on; see"
                    f" {directory.broker_log}."
                ) from None
        time.sleep(_LOOK_S)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        # As servers do it: connections that have ended do not keep a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise PortTaken(
                f"Port {port} of {_HOST} cannot be listened on: {error.strerror}. Choose another"
                f" one with --port. If an SQS is there that the lab should use, say"
                f" --endpoint http://{_HOST}:{port}."
            ) from error


def _until_it_serves(broker: subprocess.Popen[bytes], log: Path) -> str:
    """The endpoint that its log tells."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        ended = broker.poll() is not None
        found = _SERVES.search(log.read_bytes())
        if found is not None and not ended:
            return found[1].decode()
        if ended or time.monotonic() > deadline_s:
            lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
            what = "has ended" if ended else f"does not listen after {_PATIENCE_S:g} s"
            if not lines:
                raise BrokerNotStarted(
                    f"The broker {what}, and nothing is in {log}. See whether its disk has room."
                )
            raise BrokerNotStarted("\n".join([f"The broker {what}. Its log ends:", *lines]))
        time.sleep(_LOOK_S)
