"""Purging from the command line."""

from __future__ import annotations

import io
import sys

import pytest

from forebay.cli import main
from tests.cli.conftest import Run, Sqs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_it_refuses_and_says_how_to_mean_it(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    sqs.send(url, "one")
    ended = run("purge", "orders")
    assert ended.code == 2
    assert "This would delete 1 message of orders at http://127.0.0.1:" in ended.err
    assert ended.err.endswith("Say --yes if it should.\n")
    assert sqs.count(url) == 1


def test_yes_deletes_every_message_and_counts_them(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    for body in ("one", "two"):
        sqs.send(url, body)
    run("receive", "orders")
    run("send", "orders", "later", "--delay", "900")
    assert run("purge", "orders", "--yes") == (0, "Deleted 3 messages of orders.\n", "")
    assert sqs.count(url) == 0


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1)])
def test_on_a_terminal_it_asks_first(
    run: Run,
    sqs: Sqs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    code: int,
    left: int,
) -> None:
    url = sqs.create("orders")
    sqs.send(url, "one")
    monkeypatch.setattr(sys, "argv", ["forebay", "purge", "orders"])
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert "Delete 1 message of orders at http://127.0.0.1:" in capsys.readouterr().out
    assert sqs.count(url) == left


@pytest.mark.parametrize(("ended_by", "code"), [(KeyboardInterrupt, 130), (EOFError, 1)])
def test_ctrl_c_and_ctrl_d_are_a_no(
    run: Run,
    sqs: Sqs,
    monkeypatch: pytest.MonkeyPatch,
    ended_by: type[BaseException],
    code: int,
) -> None:
    url = sqs.create("orders")
    sqs.send(url, "one")

    def pressed(*_: object) -> str:
        raise ended_by

    monkeypatch.setattr(sys, "argv", ["forebay", "purge", "orders"])
    terminal = Terminal()
    monkeypatch.setattr(terminal, "readline", pressed)
    monkeypatch.setattr(sys, "stdin", terminal)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == code
    assert sqs.count(url) == 1


def test_a_second_purge_within_a_minute_is_refused(run: Run, sqs: Sqs) -> None:
    sqs.create("orders")
    assert run("purge", "orders", "--yes").code == 0
    ended = run("purge", "orders", "--yes")
    assert ended.code == 1
    assert "Only one PurgeQueue operation" in ended.err
