"""The lab's broker in the background: brought up, used from .env, killed, and taken down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forebay.lab.infrastructure.background_broker import RunningBroker, running_broker
from forebay.lab.infrastructure.directory import DEFAULT_DIRECTORY, LabDirectory
from forebay.lab.infrastructure.dotenv import read_dotenv
from forebay.lab.infrastructure.tables import tables_url


class Lab:
    """A directory as somebody has it who tries the lab, with an empty environment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = LabDirectory(directory / DEFAULT_DIRECTORY)

    def run(self, *arguments: str, **variables: str) -> str:
        """What a command says. It must succeed."""
        ended = subprocess.run(
            [sys.executable, "-m", "forebay", *arguments],
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def broker(self) -> RunningBroker | None:
        return running_broker(self.data)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    # A shell must be able to read the paths in .env, too.
    directory = tmp_path / "it's mine"
    directory.mkdir()
    lab = Lab(directory)
    yield lab
    broker = lab.broker()
    if broker is not None:
        os.kill(broker.pid, signal.SIGKILL)


def test_a_lab_is_brought_up_used_killed_and_taken_down(lab: Lab) -> None:
    with ThreadPoolExecutor() as at_once:
        said = list(at_once.map(lambda _: lab.run("lab", "up", "--port", "0"), range(2)))
    first = lab.broker()
    assert first is not None
    assert all(first.endpoint_url in each for each in said), "both are about the same broker"
    assert read_dotenv(lab.directory / ".env")["AWS_ENDPOINT_URL_SQS"] == first.endpoint_url
    assert "are as the" in lab.run("lab", "validate")
    lab.run("produce", "--n", "3")

    # It comes back with what it held, and the messages are in their queue.
    os.kill(first.pid, signal.SIGKILL)
    while lab.broker() is not None:
        time.sleep(0.01)
    lab.run("lab", "up")
    second = lab.broker()
    assert second is not None
    assert (second.pid != first.pid, second.endpoint_url) == (True, first.endpoint_url)
    read = subprocess.run(
        ["sh", "-c", '. ./.env && echo "$MESSAGE_STATUS_TABLE" && echo "$AWS_ENDPOINT_URL_SQS"'],
        cwd=lab.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    tables = lab.data.tables_of("happy")
    assert read.stdout == f"{tables_url(tables)}\n{second.endpoint_url}\n"
    assert "3 messages were processed" in lab.run("consume", MESSAGE_LIMIT="3")

    assert "has stopped" in lab.run("lab", "down")
    assert lab.broker() is None
    assert list(lab.directory.iterdir()) == []
    assert "nothing to stop" in lab.run("lab", "down")
