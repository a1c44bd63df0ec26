"""boto3 in an interpreter of its own, called as if it were here."""

from __future__ import annotations

import json
import subprocess
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from tests.clients.peers import PATIENCE_S, configuration

PEER = Path(__file__).parent / "peer.py"


class Refusal(NamedTuple):
    """What boto3 raises."""

    code: str
    message: str
    #: The name of the exception's class: one of boto3's own where it knows the code.
    exception: str
    status: int


class Boto3:
    """`sqs("send_message", QueueUrl=...)` is `client.send_message(QueueUrl=...)` in the peer."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process = process
        self._errors = errors

    def __call__(self, operation: str, /, **parameters: Any) -> Any:
        answer = self._call(operation, parameters)
        assert "result" in answer, f"{operation} was refused: {answer['refusal']}"
        return answer["result"]

    def refused(self, operation: str, /, **parameters: Any) -> Refusal:
        """The refusal of a call that must be refused."""
        answer = self._call(operation, parameters)
        assert "refusal" in answer, f"{operation} was carried out: {answer['result']}"
        return Refusal(**answer["refusal"])

    def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # A read from a pipe has no timeout; a killed peer ends it.
        watchdog = threading.Timer(PATIENCE_S, self._process.kill)
        watchdog.start()
        line = ""
        try:
            self._process.stdin.write(json.dumps([operation, parameters], default=_encode) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        finally:
            watchdog.cancel()
        assert line, f"boto3 ended in {operation}:\n{self._said()}"
        answer: dict[str, Any] = json.loads(line, object_hook=_decode)
        assert "crash" not in answer, f"boto3 crashed in {operation}:\n{answer['crash']}"
        return answer

    def _said(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        return self._errors.read()


@contextmanager
def conversation(python: Path, endpoint_url: str, **variables: str) -> Iterator[Boto3]:
    """boto3 of the environment with this interpreter, as a client of the endpoint.

    `variables` are set in its environment beside the usual configuration.
    """
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(
            [python, PEER, endpoint_url],
            env=configuration(endpoint_url) | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Boto3(process, errors)
        finally:
            process.kill()


def _encode(value: object) -> dict[str, str]:
    assert isinstance(value, bytes)
    return {"base64": b64encode(value).decode()}


def _decode(value: dict[str, Any]) -> Any:
    return b64decode(value["base64"]) if value.keys() == {"base64"} else value
