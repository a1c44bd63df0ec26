"""The Makefile: what it lists, and what its targets for the lab run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Of document 001, and how each is listed.
LAB_TARGETS = [
    "help",
    "preflight",
    "infra-up",
    "infra-down",
    "venv",
    "validate",
    "scenario-NAME",
    "scenarios-fast",
    "scenarios-slow",
    "scenarios",
]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make with the environment that runs the tests, instead of one that it makes."""
    command = ["make", "--no-print-directory", "-o", ".venv/.demo", *arguments]
    return subprocess.run(
        [*command, f"BIN={Path(sys.executable).parent}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_the_targets_of_the_lab_with_what_they_do() -> None:
    listed = re.findall(r"^  make (\S+) +(\S.*)$", make("help").stdout, re.MULTILINE)
    assert dict(listed).keys() >= set(LAB_TARGETS)
    assert len(dict(listed)) == len(listed)


def test_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z%-]*):", text, re.MULTILINE))
    listed = set(re.findall(r"^  make (\S+)", make("help").stdout, re.MULTILINE))
    assert {target.replace("%", "NAME") for target in targets} == listed
    (phony,) = re.findall(r"^\.PHONY:((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert set(phony.replace("\\\n", " ").split()) == targets - {"scenario-%"}


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("preflight", "lab preflight"),
        ("infra-up", "lab up"),
        ("infra-down", "lab down"),
        ("validate", "lab validate"),
        ("scenario-happy", "lab run happy"),
        ("scenario-poison-partial-batch", "lab run poison-partial-batch"),
        ("scenarios-fast", "lab run --fast"),
        ("scenarios-slow", "lab run --slow"),
        ("scenarios", "lab run --all"),
    ],
)
def test_a_target_passes_its_arguments_on(target: str, command: str) -> None:
    ran = make("--dry-run", target, 'ARGS=--count 10 --batch-size "5"')
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().endswith(f'/forebay {command} --count 10 --batch-size "5"')


def test_a_scenario_that_is_none_is_named() -> None:
    ran = make("scenario-hapy")
    assert ran.returncode != 0
    assert "There is no scenario hapy." in ran.stderr
    ran = make("scenario-")
    assert ran.returncode != 0
    assert "No rule to make target" in ran.stderr
