"""`forebay serve` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from unittest.mock import ANY
from urllib.parse import urlsplit

import pytest

from tests.acceptance.serve_process import ServeProcess, free_port


def ask(url: str, action: str, **members: object) -> dict[str, object]:
    request = urllib.request.Request(
        url, json.dumps(members).encode(), {"X-Amz-Target": f"AmazonSQS.{action}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        decoded: dict[str, object] = json.load(answer)
    return decoded


def failure(*arguments: str) -> tuple[int, str]:
    """Exit code and error output of a `forebay serve` that does not start."""
    with ServeProcess(*arguments) as broker:
        code, output, errors = broker.end()
    assert output == ""
    assert "Traceback" not in errors
    return code, errors


def test_it_says_where_it_serves_and_what_it_keeps(tmp_path: Path) -> None:
    with ServeProcess("--port", "0", directory=tmp_path) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="jobs")
        broker.signal(signal.SIGTERM)
        code, output, errors = broker.end()
    assert (code, errors) == (0, "")
    assert "Data in .forebay, durability fsync" in output
    assert f'boto3.client("sqs", endpoint_url="{url}"' in output
    assert output.endswith("Stopped.\n")
    assert (tmp_path / ".forebay" / "journal.db").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_answers_waiting_polls_and_keeps_what_was_sent(
    tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ("--port", "0", "--data", str(tmp_path))
    with ServeProcess(*arguments) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="jobs")
        ask(url, "CreateQueue", QueueName="empty")
        ask(url, "SendMessage", QueueUrl="jobs", MessageBody="kept")
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
            body = json.dumps({"QueueUrl": "empty", "WaitTimeSeconds": 20})
            connection.request("POST", "/", body, {"X-Amz-Target": "AmazonSQS.ReceiveMessage"})
            # The broker reads what came first first: once this is answered, the poll waits.
            ask(url, "ListQueues")
            started_s = time.monotonic()
            broker.signal(number)
            assert broker.end()[0] == 0
            assert json.load(connection.getresponse()) == {}
            assert time.monotonic() - started_s < 5
    with ServeProcess(*arguments) as broker:
        answer = ask(broker.endpoint_url, "ReceiveMessage", QueueUrl="jobs")
    assert "kept" in str(answer)


def test_a_broker_in_the_background_of_a_script_ignores_ctrl_c_and_stops_at_sigterm(
    tmp_path: Path,
) -> None:
    with ctrl_c_ignored():
        broker = ServeProcess("--port", "0", "--data", str(tmp_path))
    with broker:
        url = broker.endpoint_url
        broker.signal(signal.SIGINT)
        ask(url, "CreateQueue", QueueName="jobs")
        broker.signal(signal.SIGTERM)
        assert broker.end() == (0, ANY, "")


@contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Start processes as the `&` of a script does."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_tests_can_press_ctrl_c_though_they_run_in_the_background() -> None:
    """As a step of CI, or with `nohup make test &`."""
    root = Path(__file__).parents[2]
    presses = f"{__file__}::{test_a_signal_answers_waiting_polls_and_keeps_what_was_sent.__name__}"
    with ctrl_c_ignored():
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", presses],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_memory_keeps_nothing_on_disk(tmp_path: Path) -> None:
    with ServeProcess("--port", "0", "--durability", "memory", directory=tmp_path) as broker:
        ask(broker.endpoint_url, "CreateQueue", QueueName="jobs")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    port = free_port()
    with ServeProcess("--port", str(port), "--data", str(tmp_path / "a")) as broker:
        broker.wait_until_it_serves()
        code, errors = failure("--port", str(port), "--data", str(tmp_path / "b"))
    assert code == 1
    assert errors == (
        f"Error: Port {port} of 127.0.0.1 is taken by another process."
        " Stop it or choose another port.\n"
    )


def test_a_directory_in_use_is_named(tmp_path: Path) -> None:
    with ServeProcess("--port", "0", "--data", str(tmp_path)) as broker:
        broker.wait_until_it_serves()
        code, errors = failure("--port", "0", "--data", str(tmp_path))
    assert code == 1
    assert "is using the data directory" in errors
    assert "Stop it or choose another --data directory." in errors


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, errors = failure("--port", "0", "--data", str(tmp_path / "file"))
    assert code == 1
    assert f"The data directory {tmp_path / 'file'} cannot be used" in errors


def test_other_machines_are_kept_out_unless_somebody_lets_them_in(tmp_path: Path) -> None:
    code, errors = failure("--host", "0.0.0.0", "--data", str(tmp_path))
    assert code == 2
    assert "Give --keys FILE so that requests must be signed" in errors
    with ServeProcess(
        *("--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path), "--allow-anyone")
    ) as broker:
        assert "http://0.0.0.0:" in broker.wait_until_it_serves()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--port", "99999"), "--port"),
        (("--durability", "maybe"), "--durability"),
        (("--durability", "memory", "--data", "somewhere"), "keeps nothing"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], complaint: str) -> None:
    code, errors = failure(*arguments)
    assert code == 2
    assert complaint in errors


def test_help_lists_the_commands_and_teaches_serve() -> None:
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "forebay"]
    listed = subprocess.check_output([*command, "--help"], env=environment, text=True)
    assert "Serve SQS on this machine" in listed
    taught = subprocess.check_output([*command, "serve", "--help"], env=environment, text=True)
    for option in ("--host", "--port", "--data", "--durability", "--allow-anyone"):
        assert option in taught
