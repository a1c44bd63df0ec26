"""What the Tab key completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.broker.embedded import EmbeddedBroker
from tests.cli.conftest import Sqs

COMMAND = Path(sys.executable).with_name("forebay")


def completed(line: str, endpoint_url: str, shell: str = "bash") -> list[str]:
    """What a shell is told when Tab is pressed at the end of the line."""
    environment = os.environ | {
        "_FOREBAY_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": line,
        "COMP_WORDS": line,
        "COMP_CWORD": f"{len(line.split(' ')) - 1}",
        "AWS_ENDPOINT_URL_SQS": endpoint_url,
    }
    done = subprocess.run(
        [COMMAND], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_and_queues_and_options_are_completed(broker: EmbeddedBroker, sqs: Sqs) -> None:
    for name in ("orders", "orders-dlq", "invoices"):
        sqs.create(name)
    url = broker.endpoint_url
    assert completed("forebay re", url) == ["receive", "redrive"]
    assert completed("forebay receive or", url) == ["orders", "orders-dlq"]
    assert completed("forebay redrive inv", url) == ["invoices"]
    assert "--log-level" in completed("forebay serve --log", url)
    assert completed("forebay worker w", url) == ["watch"]
    assert completed("forebay lab run happy back", url) == ["backlog-drain", "backpressure"]
    assert "--processes" in completed("forebay worker run --pro", url)
    for shell in ("zsh", "fish"):
        assert "invoices" in " ".join(completed("forebay peek inv", url, shell))


def test_nobody_at_the_endpoint_completes_nothing() -> None:
    assert completed("forebay receive or", "http://127.0.0.1:1") == []
    assert completed("forebay receive or", "nonsense") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_the_shell_that_asks(tmp_path: Path, shell: str) -> None:
    environment = os.environ | {
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        # What tells typer the shell where no real one is above it.
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    done = subprocess.run(
        [COMMAND, "--install-completion", shell],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{shell} completion installed in" in done.stdout
    written = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    assert "_FOREBAY_COMPLETE" in written
