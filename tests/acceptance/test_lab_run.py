"""`forebay lab run` as a user runs it: verdicts, files, exit codes, and no process left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start runs whose data is in `directory`."""
    return subprocess.Popen(
        [sys.executable, "-m", "forebay", "lab", "run", *arguments],
        cwd=directory,
        env=os.environ | {"TMPDIR": str(directory), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(directory: Path) -> list[str]:
    """The processes that have the variables of a run in `directory`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={directory}\0".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_every_run_has_its_verdict_and_the_files_tell_of_it(tmp_path: Path) -> None:
    run = start(
        tmp_path,
        *("happy", "--seed", "5", "--repeat", "2", "--count", "3", "--keep", "kept"),
        *("--json", "lab.json", "--html", "lab.html"),
    )
    said, _ = run.communicate(timeout=110)
    assert run.returncode == 0, said
    lines = said.splitlines()
    for number, seed in ((1, 5), (2, 6)):
        assert any(line.startswith(f"{number} of 2  happy, seed {seed}: ") for line in lines)
        assert any(
            line.startswith(f"happy, seed {seed}, ") and "PASS: 3 sent = 3 done" in line
            for line in lines
        )
        assert (tmp_path / "kept" / f"happy-seed-{seed}" / "events").is_dir()
    assert "2 runs: 2 passed, 0 failed." in said
    report = json.loads((tmp_path / "lab.json").read_text())
    assert [(run["scenario"], run["seed"], run["passed"]) for run in report["runs"]] == [
        ("happy", 5, True),
        ("happy", 6, True),
    ]
    for each in report["runs"]:
        assert (each["options"]["count"], each["queues"][0]["done"]) == (3, 3)
        assert each["events"]["deleted"] == 3
    page = (tmp_path / "lab.html").read_text()
    assert page.count("<section") == 2
    assert "producer" in page
    assert not processes_of(tmp_path)


def test_without_its_protection_it_fails_as_it_must(tmp_path: Path) -> None:
    run = start(tmp_path, "poison", "--without", "dead-letter-queue")
    said, _ = run.communicate(timeout=110)
    assert run.returncode == 1, said
    assert ": FAIL, as it must without dead-letter-queue: " in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_every_process_of_it(tmp_path: Path, number: signal.Signals) -> None:
    run = start(tmp_path, "crash", "--visibility-wait", "600")
    assert run.stdout is not None
    assert any("crashed" in line for line in run.stdout), "it has come so far"
    assert processes_of(tmp_path)
    run.send_signal(number)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "Stopped, and every process of the lab with it." in said
    assert not processes_of(tmp_path)
    assert not list(tmp_path.glob("forebay-*"))
