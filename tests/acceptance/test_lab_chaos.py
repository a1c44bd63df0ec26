"""`forebay lab chaos` as a user runs it, in front of a broker."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from forebay.broker.embedded import EmbeddedBroker

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: How long the proxy may take to start or to stop, in seconds.
PATIENCE_S = 30.0


class Screen:
    """What a terminal shows."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._shown = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        while (found := re.search(pattern, self._shown)) is None:
            try:
                self._shown += os.read(self._file, 4096).decode()
            except OSError as error:
                raise AssertionError(f"{pattern} is not in {self._shown!r}") from error
        return found


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def chaos(*arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "forebay", "lab", "chaos", "--listen", "0", *arguments],
        **{
            "env": os.environ | {"COLUMNS": "120", "NO_COLOR": "1"},
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **options,
        },
    )


def client(endpoint_url: str) -> SQSClient:
    return boto3.client(
        "sqs",
        endpoint_url=endpoint_url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="a secret of the client",
        config=Config(retries={"total_max_attempts": 10}),
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_a_ledger(broker: EmbeddedBroker, tmp_path: Path, ending: int) -> None:
    rates = tmp_path / "faults.toml"
    rates.write_text("seed = 3\nduplicate = 0.5\nreorder = 1\n")
    books = tmp_path / "books.json"
    options = ("--faults", str(rates), "--fault", "duplicate=1", "--json", str(books))
    with chaos("--endpoint", broker.endpoint_url, *options) as process:
        assert process.stdout is not None
        announced = process.stdout.readline()
        found = re.fullmatch(
            rf"Chaos at (\S+), in front of {broker.endpoint_url}, seed 3\. Stop it with .*\n",
            announced,
        )
        assert found is not None, announced
        sqs = client(found[1])
        url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
        for number in range(3):
            sqs.send_message(QueueUrl=url, MessageBody=str(number))
        received = 0
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            received += len(messages)
            for message in messages:
                if message["Body"] != "0":
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        sqs.close()
        process.send_signal(ending)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "a secret" not in output + errors
    ledger = json.loads(books.read_text())
    assert ledger["faults"]["seed"] == 3
    assert ledger["faults"]["duplicate"] == 1
    jobs = ledger["queues"]["jobs"]
    assert (jobs["sent"], jobs["delivered"], jobs["deliveries"]) == (3, 3, received)
    [left] = jobs["never_deleted"]
    assert f"jobs: delivered and never deleted: {left}" in output
    assert re.search(r"of them doubled by the proxy\W+3\b", output)
    assert "3 messages doubled" in output


def test_a_terminal_shows_what_passes(broker: EmbeddedBroker) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
    with chaos("--endpoint", broker.endpoint_url, stdout=theirs, env=environment) as process:
        os.close(theirs)
        screen = Screen(ours)
        sqs = client(screen.wait_for(r"Chaos at (http://[\d.:]+)")[1])
        url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
        screen.wait_for("1 call answered")
        sqs.send_message(QueueUrl=url, MessageBody="a")
        sqs.close()
        screen.wait_for("2 calls answered")
        process.send_signal(signal.SIGTERM)
        screen.wait_for("calls cut by a partition")
        assert process.wait(PATIENCE_S) == 0
    os.close(ours)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--fault", "duplicate=2"], "duplicate is a probability from 0 to 1"),
        (["--fault", "dup=0.1"], "there is no fault 'dup'"),
        (["--faults", "none.toml"], "none.toml could not be read"),
        (["--endpoint", "localhost:9324"], "is not an endpoint URL"),
        (["--json", "none/books.json"], "that directory does not exist"),
        (["--allow-host", "http://a"], "is not the name of a host"),
        (["--listen", "70000"], "should be less than or equal to 65535"),
    ],
)
def test_options_that_are_refused(arguments: list[str], text: str) -> None:
    with chaos(*arguments) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert output == ""
    assert text in errors
    assert "Traceback" not in errors


def test_a_port_that_is_taken_is_said(broker: EmbeddedBroker) -> None:
    port = broker.endpoint_url.rpartition(":")[2]
    with chaos("--listen", port) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken" in errors
    assert "--port" not in errors, "it has --listen"
