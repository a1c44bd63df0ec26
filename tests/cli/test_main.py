"""What every command has in common: how it ends, and what it says when it cannot go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from termios import FIONREAD
from threading import Event, Thread
from typing import IO

import pytest

from forebay.broker.embedded import EmbeddedBroker
from forebay.broker.polls import ParkedPoll, ParkedPolls
from forebay.cli.main import COMMANDS, GROUPS
from forebay.stop_signals import INTERRUPTED
from tests.cli.conftest import Run, Sqs

#: Commands that ask SQS something as soon as they start.
ASKING = [
    ("queues",),
    ("send", "orders", "body"),
    ("receive", "orders"),
    ("purge", "orders", "--yes"),
    ("redrive", "orders"),
]

AS_MODULE = [sys.executable, "-m", "forebay"]


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The URL of a server that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(run: Run, command: str, option: str) -> None:
    ended = run(command, option)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count(f"forebay {command}") >= 2, "there is the usage, and an example"


@pytest.mark.parametrize(
    ("group", "command"), [(group, name) for group, (names, _) in GROUPS.items() for name in names]
)
def test_every_command_of_a_group_explains_itself_with_an_example(
    run: Run, group: str, command: str
) -> None:
    ended = run(group, command, "-h")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count(f"forebay {group} {command}") >= 2, "there is the usage, and an example"
    assert "<bool>" not in ended.out


@pytest.mark.parametrize("arguments", [(), *((command,) for command in COMMANDS)])
def test_a_flag_takes_no_value_and_is_shown_without_a_type(
    run: Run, arguments: tuple[str, ...]
) -> None:
    assert "<bool>" not in run(*arguments, "-h").out


def test_without_a_command_it_explains_itself(run: Run) -> None:
    assert run() == run("--help")
    assert run("worker") == run("worker", "--help")
    for command in COMMANDS:
        assert command in run().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("recieve", "orders"), "There is no command recieve. Did you mean receive?"),
        (("worker", "rnu", "x"), "There is no command rnu. Did you mean run?"),
        (("worker", "zebra"), "No such command 'zebra'. See forebay worker -h."),
        (("zebra",), "No such command 'zebra'. See forebay -h."),
        (("send",), "Missing argument 'QUEUE'. See forebay send -h."),
        (("send", "orders", "x", "--cuont", "5"), "No such option: --cuont"),
        (("receive", "orders", "--max", "many"), "Invalid value for '--max'"),
        (("receive", "orders", "--visibility", "99999"), "Invalid value for '--visibility'"),
        (("send", "orders", "--file", "/nowhere"), "does not exist"),
        (("send", "orders", "--file", "/"), "is a directory"),
        (("send", "", "x"), "The queue's name is empty."),
        (("redrive", "orders", "--to", ""), "The queue's name is empty."),
        (("demo", "--json", "/"), "is a directory"),
        (("create", ""), "cannot be the name of a queue"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    run: Run, sqs: Sqs, arguments: tuple[str, ...], complaint: str
) -> None:
    sqs.create("orders")
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert ended.err.startswith("Error: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("arguments", ASKING)
@pytest.mark.parametrize(
    ("status", "answer", "advice"),
    [
        (501, b"<html>\n<p>Not here</p>\n", "What answers there is no SQS: it answered with HTTP"),
        (200, b"<html>", "What answers there is no SQS: it answered with HTTP status 200."),
        (403, b'{"__type":"ExpiredTokenException","message":"Expired"}', "Renew them"),
        (403, b'{"__type":"UnrecognizedClientException","message":"?"}', "AWS_ACCESS_KEY_ID"),
        (403, b'{"__type":"AccessDeniedException","message":"No."}', "let your key do this"),
        (403, b'{"__type":"InvalidSignatureException","message":"No."}', "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_what_refuses_everything_gets_one_line_of_advice(
    run: Run, arguments: tuple[str, ...], status: int, answer: bytes, advice: str
) -> None:
    with answering(status, answer) as url:
        ended = run(*arguments, "--endpoint-url", url)
    assert ended.code == 1
    assert advice in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("arguments", ASKING)
def test_https_where_http_is_spoken_says_so(
    run: Run, broker: EmbeddedBroker, arguments: tuple[str, ...]
) -> None:
    ended = run(*arguments, "--endpoint-url", broker.endpoint_url.replace("http", "https"))
    assert ended.code == 1
    assert "has a URL with http://" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("arguments", ASKING)
@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"AWS_PROFILE": "nowhere"}, "Check AWS_PROFILE"),
        ({"AWS_REGION": "eu west"}, "is not the name of a region"),
        ({"AWS_ENDPOINT_URL_SQS": "localhost"}, "is not an endpoint URL"),
    ],
)
def test_an_environment_that_cannot_be_meant_is_explained(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    complaint: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err
    assert ended.err.count("\n") == 1


def test_a_variable_that_kubernetes_sets_is_explained(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_PORT", "tcp://10.0.0.7:9324")
    ended = run("serve")
    assert ended.code == 2
    assert "FOREBAY_PORT" in ended.err
    assert "enableServiceLinks: false" in ended.err


def test_aws_without_a_region_is_explained(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    ended = run("queues", "--aws")
    assert ended.code == 2
    assert "Name one with --region or AWS_REGION" in ended.err


def in_shell(line: str, broker: EmbeddedBroker, **environment: str) -> tuple[int, str, str]:
    """Run a line in which $forebay is the command."""
    done = subprocess.run(
        ["sh", "-c", line.replace("$forebay", " ".join(AS_MODULE))],
        env=os.environ | {"AWS_ENDPOINT_URL_SQS": broker.endpoint_url} | environment,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["--help", "queues", "queues --json", "send orders x"])
def test_a_full_disk_behind_the_output_is_said(
    broker: EmbeddedBroker, sqs: Sqs, command: str
) -> None:
    sqs.create("orders")
    assert in_shell(f"$forebay {command} > /dev/full", broker) == (
        *(1, "", "Error: The output cannot be written: No space left on device.\n"),
    )


def test_a_reader_who_has_seen_enough_is_no_error(broker: EmbeddedBroker, sqs: Sqs) -> None:
    url = sqs.create("orders")
    for _ in range(100):
        sqs.send(url, "x" * 10_000)
    line = "$forebay receive orders --max 100 --json | head -c 1"
    assert in_shell(line, broker) == (0, "{", "")


def test_no_output_at_all_deletes_nothing(broker: EmbeddedBroker, sqs: Sqs) -> None:
    url = sqs.create("orders")
    sqs.send(url, "kept")
    code, _, errors = in_shell("$forebay receive orders --delete >&-", broker)
    assert (code, errors) == (1, "Error: There is no standard output to write to.\n")
    assert sqs.bodies(url) == ["kept"]


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
@pytest.mark.parametrize("arguments", ["", "--lines"])
def test_what_is_not_text_is_refused_in_every_locale(
    broker: EmbeddedBroker, sqs: Sqs, locale: str, arguments: str
) -> None:
    url = sqs.create("orders")
    line = f"printf 'caf\\351' | $forebay send orders {arguments}"
    code, _, errors = in_shell(line, broker, LC_ALL=locale)
    assert code == 2
    assert "is not text in UTF-8, and SQS takes no other." in errors
    assert errors.count("\n") == 1
    assert sqs.count(url) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("receive", "\udcff"),
        ("queues", "\udcff"),
        ("send", "orders", "x", "--attribute", "a=\udcff"),
        ("send", "orders", "x", "--group", "\udcff"),
    ],
)
def test_an_argument_that_is_not_text_is_refused(
    run: Run, sqs: Sqs, arguments: tuple[str, ...]
) -> None:
    sqs.create("orders")
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.err == "Error: An argument is not text in UTF-8, and SQS takes no other.\n"


def test_no_input_is_nothing_to_send(broker: EmbeddedBroker, sqs: Sqs) -> None:
    sqs.create("orders")
    code, _, errors = in_shell("$forebay send orders <&-", broker)
    assert (code, errors) == (2, "Error: The message is empty, and SQS takes none that is.\n")
    code, _, errors = in_shell("$forebay purge orders <&-", broker)
    assert code == 2
    assert "Say --yes if it should." in errors


def test_ctrl_c_ends_a_command_that_waits_for_a_message(
    broker: EmbeddedBroker, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.create("orders")
    park, waits = ParkedPolls.park, Event()

    def noted(polls: ParkedPolls, poll: ParkedPoll) -> None:
        park(polls, poll)
        waits.set()

    monkeypatch.setattr(ParkedPolls, "park", noted)
    with started("receive", "orders", "--wait", "20", broker=broker) as process:
        assert waits.wait(20)
        assert_ended_by_ctrl_c(process)


def test_ctrl_c_ends_a_command_that_waits_for_its_input(broker: EmbeddedBroker, sqs: Sqs) -> None:
    url = sqs.create("orders")
    with started("send", "orders", broker=broker) as process:
        assert process.stdin is not None
        process.stdin.write("begun")
        process.stdin.flush()
        deadline = time.monotonic() + 20
        while unread_bytes(process.stdin):
            assert time.monotonic() < deadline, "it does not read its input"
            time.sleep(0.02)
        assert_ended_by_ctrl_c(process)
    assert sqs.count(url) == 0


@contextmanager
def started(*arguments: str, broker: EmbeddedBroker) -> Iterator[subprocess.Popen[str]]:
    """A command that runs, its input a pipe that stays open. It does not outlive the block."""
    with subprocess.Popen(
        [*AS_MODULE, *arguments, "--endpoint-url", broker.endpoint_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def unread_bytes(pipe: IO[str]) -> int:
    """How many bytes of a pipe its other side has not read yet."""
    count = ioctl(pipe.fileno(), FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


def assert_ended_by_ctrl_c(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("queues",),
        ("receive", "orders"),
        ("send", "orders", "x"),
        ("queues", "--endpoint-url", "x"),
    ],
)
def test_without_a_terminal_there_are_no_colours(
    run: Run, sqs: Sqs, arguments: tuple[str, ...]
) -> None:
    sqs.send(sqs.create("orders"), json.dumps({"seat": 12}))
    ended = run(*arguments)
    assert "\x1b" not in ended.out + ended.err
