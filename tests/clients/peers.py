"""Foreign programs that are pointed at the broker, and what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from mypy_boto3_sqs import SQSClient

#: The region that every peer is configured with.
REGION = "eu-west-1"

#: The key that every peer signs with.
ACCESS_KEY_ID = "AKIDPEER"
SECRET_ACCESS_KEY = "a secret that all peers share"

#: How long a peer may take over one scenario unless a test says otherwise, in seconds.
PATIENCE_S = 60


class PeerFailed(AssertionError):
    """A peer ended badly or not at all. The message has everything that it printed."""


def configuration(endpoint_url: str) -> dict[str, str]:
    """The environment variables with which AWS's own clients find the broker, and no others."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "AWS_ENDPOINT_URL_SQS": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def own_client(endpoint_url: str) -> SQSClient:
    """A client with the peers' key, in this process."""
    return boto3.client(
        "sqs",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


def output_of(
    *command: str | Path,
    environment: dict[str, str],
    directory: Path | None = None,
    patience_s: float = PATIENCE_S,
    started: Callable[[subprocess.Popen[str]], None] = lambda process: None,
) -> str:
    """What a peer prints. Raises PeerFailed if it fails or hangs.

    `started` gets the process, for who may want to end it early.
    """
    with subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        started(process)
        try:
            output, errors = process.communicate(timeout=patience_s)
            ending = f"ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            kill(process)
            output, errors = process.communicate()
            ending = f"did not end within {patience_s} s"
    if ending != "ended with 0":
        raise PeerFailed(said(command, ending, output, errors))
    return output


def answer_of(
    *command: str | Path,
    environment: dict[str, str],
    directory: Path | None = None,
    patience_s: float = PATIENCE_S,
) -> Any:
    """The JSON that a peer prints as its last line."""
    output = output_of(
        *command, environment=environment, directory=directory, patience_s=patience_s
    )
    try:
        return json.loads(output.rstrip().rpartition("\n")[2])
    except json.JSONDecodeError as error:
        raise PeerFailed(said(command, "printed no JSON", output, "")) from error


@contextmanager
def running(
    *command: str | Path, environment: dict[str, str], directory: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A peer that works in the background and writes to `log`. It does not outlive the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[Any]) -> None:
    """SIGKILL to a peer and to the processes that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def said(command: tuple[str | Path, ...], ending: str, output: str, errors: str) -> str:
    line = " ".join(map(str, command))
    return f"{line} {ending}\n--- it printed\n{output}\n--- and, as errors\n{errors}"
