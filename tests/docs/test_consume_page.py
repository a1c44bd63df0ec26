"""The page on the consumer and the producer has their variables, protections and options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forebay.cli.main import app
from forebay.lab.consumer import PROTECTIONS, VARIABLES

TEXT = (Path(__file__).parents[2] / "docs/how-to/consume-and-produce.md").read_text()


def table(heading: str) -> list[str]:
    """The rows of the table whose first column has this heading."""
    [rows] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return str(rows).splitlines()


def test_it_has_every_variable_with_its_default_and_meaning() -> None:
    assert table("variable") == [
        f"| `{each.name}` | {each.default or (each.otherwise and f'({each.otherwise})')}"
        f" | {each.meaning} |"
        for each in VARIABLES
    ]


def test_it_has_every_protection_and_what_is_done_without_it() -> None:
    assert table("protection") == [f"| `{name}` | {text} |" for name, text in PROTECTIONS.items()]


def test_it_has_every_option_of_the_producer(capsys: pytest.CaptureFixture[str]) -> None:
    app(["produce", "--help"], standalone_mode=False)
    options = {*re.findall(r"--[a-z-]+", capsys.readouterr().out)} - {"--help"}
    assert {*re.findall(r"^\| `(--[a-z-]+)`", TEXT, re.MULTILINE)} == options - {"--poison"}
