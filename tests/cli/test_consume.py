"""`forebay consume` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.lab.consumer import VARIABLES
from tests.cli.conftest import Run, Sqs


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the consumer passes a hundred times as fast; that of the broker does not."""
    monkeypatch.setenv("FOREBAY_TIME_SCALE", "100")


def test_it_consumes_until_its_limit(
    run: Run, sqs: Sqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqs.create("orders")
    log = tmp_path / "log"
    for number in range(3):
        sqs.send(url, f'{{"id": "m-{number}", "sequence": {number}}}')
    monkeypatch.setenv("QUEUE_URL", url)
    monkeypatch.setenv("SIDE_EFFECT_LOG_PATH", str(log))
    monkeypatch.setenv("MESSAGE_LIMIT", "7")
    monkeypatch.setenv("WAIT_TIME_SECONDS", "0")
    ended = run("consume", "--message-limit", "3")
    assert (ended.code, ended.out) == (0, "")
    assert "3 messages were processed, as MESSAGE_LIMIT says." in ended.err
    assert "Message m-1: its effect is done." in ended.err
    assert sorted(log.read_text().split()) == ["0", "1", "2"]
    assert sqs.count(url) == 0


def test_a_message_that_fails_has_its_reason_in_the_log_and_no_traceback(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, dead_url = sqs.create_with_dead_letter_queue("orders")
    sqs.send(url, '{"id": "m-1", "work": "POISON 100%"}')
    monkeypatch.setenv("REJECT_PAYLOAD_MARKER", "POISON 100%")
    ended = run(
        *("consume", "--queue-url", url, "--idle-timeout-seconds", "300"),
        *("--wait-time-seconds", "0"),
    )
    assert "Message m-1 contains 'POISON 100%', which REJECT_PAYLOAD_MARKER rejects." in ended.err
    assert "Traceback" not in ended.err
    assert sqs.count(dead_url) == 1


def test_an_id_breaks_no_line_of_the_log(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    sqs.send(url, '{"id": "m-1: its effect is done.\\n2026 ERROR All is lost é"}')
    ended = run("consume", "--queue-url", url, "--message-limit", "1")
    assert r"Message m-1: its effect is done.\n2026 ERROR All is lost é: its" in ended.err


def test_the_queues_url_says_where_it_is_whatever_the_environment_says(
    run: Run, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqs.create("orders")
    sqs.send(url, "{}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    assert run("consume", "--queue-url", url, "--message-limit", "1").code == 0
    assert sqs.count(url) == 0


def test_it_ends_when_nothing_comes(run: Run, sqs: Sqs) -> None:
    ended = run(
        *("consume", "--queue-url", sqs.create("orders"), "--idle-timeout-seconds", "200"),
        *("--wait-time-seconds", "0"),
    )
    assert ended.code == 0, ended.err
    assert "No message has come for 200 s, as IDLE_TIMEOUT_SECONDS says." in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "QUEUE_URL is not set"),
        (("--queue-url", "{url}", "--crash-rate", "2"), 2, "CRASH_RATE is '2'; it must be"),
        (("--queue-url", "{url}", "--without", "luck"), 2, "'luck' is no protection"),
        (("--queue-url", "{url}-gone"), 1, "orders-gone"),
        (("--queue-url", "http://[bad"), 2, "http://[bad names no queue. It must look like"),
        (("--queue-url", "{url}", "--aws-region", "b ad"), 2, "'b ad' is not the name of a region"),
        (
            ("--queue-url", "{url}", "--side-effect-log-path", "/no/where"),
            2,
            "SIDE_EFFECT_LOG_PATH is '/no/where', a file that cannot be appended to: No such",
        ),
        (
            ("--queue-url", "http://127.0.0.1:9/0/orders", "--idle-timeout-seconds", "5"),
            1,
            "The queue could not be found: no SQS has answered.",
        ),
        (("--queue-url", "{url}", "--message-status-table", "sqlite:////no/where"), 1, "/no/where"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Run, sqs: Sqs, arguments: tuple[str, ...], code: int, says: str
) -> None:
    url = sqs.create("orders")
    ended = run("consume", *(each.format(url=url) for each in arguments))
    assert ended.code == code
    errors = [line for line in ended.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert says in errors[0]


def test_help_teaches_every_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = run("consume", "--help").out
    for variable in VARIABLES:
        assert variable.option in text
        assert f"[env var: {variable.name}]" in text
        if variable.default:
            assert f"[default: {variable.default}]" in text
