"""`forebay demo` as a user runs it, smaller."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from forebay.apps.sale.readback import Stores

#: What the demo needs and nothing else does.
EXTRA = ["aiohttp", "starlette", "uvicorn"]

#: Large enough for every kind of buyer to come.
BUYERS = 300

KEYS = [
    "buyers",
    "accepted",
    "duplicates_collapsed",
    "confirmed",
    "sold_out",
    "dead_lettered",
    "undecided",
    "oversold",
    "double_decided",
    "inversions",
    "lost",
    "usage_sent",
    "usage_stored",
    "usage_dropped",
    "broker_kills",
    "worker_kills",
    "orders_per_second",
    "accept_p50_ms",
    "accept_p99_ms",
    "seconds",
    "ok",
]


def demo(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a demo whose data directory is in `directory`."""
    return subprocess.Popen(
        [sys.executable, "-m", "forebay", "demo", *arguments],
        env=os.environ | {"TMPDIR": str(directory), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(directory: Path) -> list[str]:
    """The command lines of the processes that were started for a demo in `directory`."""
    commands = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if f"{directory}/forebay-demo-" in command:
            commands.append(command)
    return commands


def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_small_demo_survives_both_crashes_and_balances(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    figures_file = tmp_path / "figures.json"
    seed = random.randrange(1_000_000)
    run = demo(
        data,
        *("--buyers", str(BUYERS), "--seats", "100", "--sections", "4"),
        *("--seed", str(seed), "--json", str(figures_file), "--keep"),
    )
    output, _ = run.communicate(timeout=100)
    assert run.returncode == 0, output
    figures = json.loads(figures_file.read_text())
    assert list(figures) == KEYS
    assert figures["ok"] is True
    assert figures["buyers"] == figures["accepted"] == BUYERS
    assert figures["confirmed"] == 100
    assert figures["dead_lettered"] >= 2
    assert figures["confirmed"] + figures["sold_out"] + figures["dead_lettered"] == BUYERS
    assert (figures["worker_kills"], figures["broker_kills"]) == (1, 1)
    assert figures["usage_sent"] == figures["usage_stored"] > BUYERS
    for nothing in ("undecided", "oversold", "double_decided", "inversions", "lost"):
        assert figures[nothing] == 0
    assert figures["orders_per_second"] > 0
    assert 0 < figures["accept_p50_ms"] <= figures["accept_p99_ms"]
    (kept,) = data.iterdir()
    assert str(kept) in output
    with closing(Stores(kept)) as stores:
        progress = stores.progress()
    assert progress.decided == progress.notified == figures["confirmed"] + figures["sold_out"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = demo(tmp_path, "--buyers", "3000", "--seats", "100")
    assert run.stdout is not None
    for line in run.stdout:
        if "Killed orders-1" in line:
            break
    assert processes_of(tmp_path)
    run.send_signal(number)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 130, output
    assert "Stopped" in output
    until(lambda: not processes_of(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seats", "3", "--sections", "4"], "--seats is 3; it must be at least 4"),
        (["--json", "/nowhere/figures.json"], "that directory does not exist"),
    ],
)
def test_a_demo_that_cannot_be_says_so_before_it_begins(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    run = demo(tmp_path, *arguments)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 2
    assert says in output
    assert list(tmp_path.iterdir()) == []


def forebay_without(packages: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where these packages are not installed."""
    without = (
        f"import sys; sys.modules |= dict.fromkeys({packages!r});"
        f"sys.argv = ['forebay', *{arguments!r}];"
        "from forebay.cli.main import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", without], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("package", EXTRA)
def test_a_demo_without_its_extra_says_what_to_install(package: str) -> None:
    run = forebay_without([package], "demo")
    assert run.returncode == 1
    assert "pip install aiohttp starlette uvicorn" in run.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_the_command_needs_no_extra_to_show_what_there_is(arguments: list[str]) -> None:
    run = forebay_without(EXTRA, *arguments)
    assert run.returncode == 0, run.stderr
    assert "demo" in run.stdout
