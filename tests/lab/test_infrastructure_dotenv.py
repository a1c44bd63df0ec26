"""The file .env, as this project and a shell both read it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.errors import SettingsError
from forebay.lab.infrastructure.dotenv import load_dotenv, parse_dotenv, render_dotenv

READ = [
    ("A=1", {"A": "1"}),
    ("A=", {"A": ""}),
    ("A=''", {"A": ""}),
    ("export A=1", {"A": "1"}),
    ("  A=1  ", {"A": "1"}),
    ("A=1 # why", {"A": "1"}),
    ("A=1#2", {"A": "1#2"}),
    ("A=#1", {"A": "#1"}),
    ("# don't\n\n   \nA=1", {"A": "1"}),
    ("A=1 # don't", {"A": "1"}),
    ("A='a b'", {"A": "a b"}),
    ('A="a b"', {"A": "a b"}),
    ("A='$HOME `ls`'", {"A": "$HOME `ls`"}),
    (r'A="say \"a\" \\ b"', {"A": r'say "a" \ b'}),
    ("A=a\\ b", {"A": "a b"}),
    ("A='it'\\''s'", {"A": "it's"}),
    ("A=\"a\"'b'c", {"A": "abc"}),
    ("A=x=y", {"A": "x=y"}),
    ("A=sqlite:////tmp/t.sqlite3", {"A": "sqlite:////tmp/t.sqlite3"}),
    ("A=1\nA=2", {"A": "2"}),
    ("A=größer", {"A": "größer"}),
    ("_a1=x", {"_a1": "x"}),
    ("A='x\u2028\x0cy'\nB=1", {"A": "x\u2028\x0cy", "B": "1"}),
]

REFUSED = [
    "A",
    "A = 1",
    "1A=1",
    "A-B=1",
    "A=a b",
    "A=$HOME",
    'A="$HOME"',
    "A=`ls`",
    "A=$(ls)",
    "A=a;b",
    "A=a&b",
    "A=~/x",
    "A='a",
    'A="a',
    r'A="a\n"',
    "A=a\\",
    "- A=1",
]


@pytest.mark.parametrize(("text", "variables"), READ)
def test_a_file_is_read(text: str, variables: dict[str, str]) -> None:
    assert parse_dotenv(text) == variables


def test_a_shell_reads_the_same(tmp_path: Path) -> None:
    script = ""
    for number, (text, _) in enumerate(READ):
        (tmp_path / f"{number}.env").write_text(text)
        script += f"(set -a; . ./{number}.env; env -0; printf '\\0END\\0')\n"
    shell = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    for (text, variables), environment in zip(READ, shell.stdout.split("\0END\0"), strict=False):
        read = dict(line.split("=", 1) for line in environment.split("\0") if line)
        assert variables.items() <= read.items(), text


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_shell_would_take_otherwise_is_refused(line: str) -> None:
    with pytest.raises(SettingsError, match=r"^my\.env, line 2, is not NAME=value"):
        parse_dotenv(f"# comment\n{line}\nB=2", "my.env")


@pytest.mark.parametrize("value", ["", "a", "a b", "it's", '"', "$x", "a\\b", "#", "~", "ü", "*"])
def test_what_is_written_is_read(value: str) -> None:
    text = render_dotenv({"A": value, "B": "1"})
    assert parse_dotenv(text) == {"A": value, "B": "1"}
    assert shlex.split(text, comments=True) == [f"A={value}", "B=1"]


def test_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=file\r\nB=file\r\nC=file\r\n")
    environment = {"A": "environment", "C": ""}
    assert load_dotenv(tmp_path, environment) == ["B"]
    assert environment == {"A": "environment", "B": "file", "C": ""}


def test_without_a_file_nothing_is_done(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    assert load_dotenv(tmp_path, environment) == []
    (tmp_path / ".env").mkdir()
    assert load_dotenv(tmp_path, environment) == []
    assert environment == {}


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff")
    with pytest.raises(SettingsError, match=r"\.env could not be read"):
        load_dotenv(tmp_path, {})


def test_a_broken_file_stops_only_commands_that_read_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=$HOME\n")
    for arguments, code in ((["lab", "list"], 2), (["--version"], 0)):
        ended = subprocess.run(
            [sys.executable, "-m", "forebay", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ".env, line 1" in ended.stderr) == (code, code == 2), arguments
