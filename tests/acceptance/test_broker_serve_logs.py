"""What `forebay serve` writes to its log, and in which form."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.acceptance.serve_process import ServeProcess
from tests.acceptance.test_broker_serve import ask

QUEUES = "[queues.jobs]\nVisibilityTimeout = 60\n"


def refuse(url: str) -> None:
    """Ask for what is refused."""
    with pytest.raises(urllib.error.HTTPError):
        ask(url, "SendMessage", QueueUrl="nowhere", MessageBody="a secret")


def test_a_refused_request_is_a_line_and_others_are_none(tmp_path: Path) -> None:
    with ServeProcess("--port", "0", "--data", str(tmp_path)) as broker:
        url = broker.endpoint_url
        ask(url, "CreateQueue", QueueName="jobs")
        for _ in range(3):
            refuse(url)
        broker.signal(signal.SIGTERM)
        code, _, errors = broker.end()
    lines = errors.splitlines()
    assert code == 0
    assert len(lines) == 2
    assert " INFO Refused SendMessage from 127.0.0.1 (Python-urllib/" in lines[0]
    assert lines[1].endswith("NonExistentQueue, 2 times more")
    assert "secret" not in errors


def test_the_level_decides_what_is_written(tmp_path: Path) -> None:
    for level, count in (("debug", 2), ("info", 1), ("warning", 0)):
        with ServeProcess("--port", "0", "--durability", "memory", "--log-level", level) as broker:
            refuse(broker.endpoint_url)
            broker.signal(signal.SIGTERM)
            assert len(broker.end()[2].splitlines()) == count


def test_in_json_every_line_is_an_object(tmp_path: Path) -> None:
    config = tmp_path / "forebay.toml"
    config.write_text(f'[server]\nlog_format = "json"\nport = 0\n{QUEUES}')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--config", str(config), "--port", str(port), "--log-level", "debug"]
    with ServeProcess(*arguments, "--data", str(tmp_path / "data")) as broker:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_listens(port)
        ask(url, "CreateQueue", QueueName="jobs2")
        refuse(url)
        broker.signal(signal.SIGTERM)
        code, output, errors = broker.end()
    assert (code, output) == (0, "")
    lines = [json.loads(line) for line in errors.splitlines()]
    messages = [line["message"] for line in lines]
    assert messages[0] == "Queue jobs created"
    assert messages[1].startswith("Forebay ")
    assert lines[1]["endpoint_url"] == url
    assert messages[-1] == "Stopped."
    created = next(line for line in lines if line["message"].startswith("CreateQueue"))
    assert (created["action"], created["queue"], created["code"]) == ("CreateQueue", "jobs2", "200")
    assert created["duration_ms"] > 0
    assert all({"timestamp", "level", "logger", "message"} <= line.keys() for line in lines)


def wait_until_it_listens(port: int) -> None:
    """Try until somebody answers; the broker says so in its log alone."""
    for _ in range(400):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("The broker did not start.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "No such option: --nonsense"),
        (["--port", "99999"], "--port"),
        (["--tls-cert", "cert.pem"], "--tls-cert and --tls-key go together"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--data", "file"], "cannot be used"),
        (["--host", "0.0.0.0"], "Give --keys FILE"),
    ],
)
@pytest.mark.parametrize("asked", [["--log-format", "json"], ["--log-format=json"]])
def test_in_json_an_error_at_the_start_is_an_object(
    tmp_path: Path, arguments: list[str], message: str, asked: list[str]
) -> None:
    (tmp_path / "file").touch()
    with ServeProcess(*arguments, *asked, directory=tmp_path) as broker:
        code, output, errors = broker.end()
    assert code != 0
    assert output == ""
    (line,) = errors.splitlines()
    assert message in json.loads(line)["message"]


def test_what_nobody_catches_is_an_object_too(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import asyncio, sys, threading, warnings\n"
        "import forebay.cli.serve as serve\n"
        "from forebay.cli.main import main\n"
        "async def fail(*_):\n"
        "    warnings.warn('a warning')\n"
        "    asyncio.get_running_loop().call_soon(lambda: 1 / 0)\n"
        "    await asyncio.sleep(0)\n"
        "    thread = threading.Thread(target=lambda: [][0])\n"
        "    thread.start(); thread.join()\n"
        "    raise RuntimeError('a bug')\n"
        "serve._serve = fail\n"
        "main()\n"
    )
    arguments = ["--durability", "memory", "--log-format", "json"]
    with ServeProcess(*arguments, directory=tmp_path, module="broken") as broker:
        code, _, errors = broker.end()
    assert code == 1
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["level"] for line in lines] == ["WARNING", "ERROR", "CRITICAL", "CRITICAL"]
    assert "a bug" in lines[-1]["message"]
    assert "Traceback" in lines[-1]["exc_info"]
