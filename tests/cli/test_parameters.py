"""`forebay parameters` and `forebay profile`, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from forebay.tunables import SCHEMA
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that commands are run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOREBAY_PARAMETERS", raising=False)
    monkeypatch.setenv("LOGNAME", "ada")
    return tmp_path


def sql(statement: str) -> None:
    with closing(apsw.Connection(".forebay/parameters.sqlite3")) as connection:
        connection.execute(statement)


def test_all_are_listed_with_range_and_default_before_anything_is_set(
    run: Run, directory: Path
) -> None:
    ended = run("parameters", "list")
    assert (ended.code, ended.err) == (0, "")
    assert "1 to 60,000 ms" in ended.out
    for parameter in SCHEMA:
        assert parameter.name in ended.out
    # Looking makes nothing.
    assert list(directory.iterdir()) == []


def test_a_value_is_set_shown_and_reset(run: Run) -> None:
    ended = run("parameters", "set", "sqs_flush_ms", "50", "--note", "a sale")
    assert ended == (0, "sqs_flush_ms is 50 ms now; it was not set.\n", "")
    assert run("parameters", "set", "sqs_flush_ms", "50").out == "sqs_flush_ms is 50 ms already.\n"
    shown = run("parameters", "get", "sqs_flush_ms")
    assert shown.out == "50\n"
    assert "50 ms, set by ada at 2" in shown.err
    assert "1 to 60,000 ms; 100 by default." in shown.err
    ended = run("parameters", "reset", "sqs_flush_ms", "--by", "bob")
    assert ended.out == "sqs_flush_ms is not set any more; it was 50.\n"
    assert run("parameters", "reset", "sqs_flush_ms").out == "sqs_flush_ms was not set.\n"
    shown = run("parameters", "get", "sqs_flush_ms")
    assert (shown.code, shown.out) == (0, "100\n")
    assert "It is not set: this is the default." in shown.err
    history = run("parameters", "history", "sqs_flush_ms").out.splitlines()
    assert len(history) == 6
    assert "a sale" in history[3]
    assert "bob" in history[4]
    assert run("parameters", "history", "sqs_batch_size").out == (
        "sqs_batch_size was never changed.\n"
    )


def test_json_is_for_programs(run: Run) -> None:
    made = json.loads(
        run("parameters", "set", "sqs_when_full", "block", "--by", "bob", "--json").out
    )
    assert (made["name"], made["old"], made["new"], made["by"]) == (
        "sqs_when_full",
        None,
        "block",
        "bob",
    )
    assert json.loads(run("parameters", "set", "sqs_when_full", "block", "--json").out) is None
    run("parameters", "set", "sqs_flush_ms", "50")
    listed = {each["name"]: each for each in json.loads(run("parameters", "list", "--json").out)}
    assert listed.keys() == {parameter.name for parameter in SCHEMA}
    flush = listed["sqs_flush_ms"]
    assert (flush["value"], flush["default"], flush["least"], flush["most"], flush["unit"]) == (
        50,
        100,
        1,
        60_000,
        "ms",
    )
    assert listed["sqs_when_full"]["choices"] == ["drop", "block", "spill"]
    assert json.loads(run("parameters", "get", "sqs_flush_ms", "--json").out)["value"] == 50
    assert [each["name"] for each in json.loads(run("parameters", "history", "--json").out)] == [
        "sqs_when_full",
        "sqs_flush_ms",
    ]
    assert json.loads(run("parameters", "reset", "sqs_flush_ms", "--json").out)["new"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "sqs_flush_ms", "0"], "sqs_flush_ms is 0; it must be 1 to 60,000 ms."),
        (["set", "sqs_flush_ms", "-5"], "sqs_flush_ms is -5; it must be 1 to 60,000 ms."),
        (["set", "sqs_flush_ms", "fast"], "it must be a whole number, 1 to 60,000 ms."),
        (["set", "sqs_flushms", "5"], "Did you mean sqs_flush_ms?"),
        (["get", "sqs_flushms"], "Did you mean sqs_flush_ms?"),
        (["reset", "sqs_flushms"], "Did you mean sqs_flush_ms?"),
        (["history", "sqs_flushms"], "Did you mean sqs_flush_ms?"),
        (["set", "worker_concurrency_min", "65"], "at most worker_concurrency, which is 64 by"),
        (["set", "sqs_flush_ms", "5", "--by", ""], "by is empty"),
        (["set", "sqs_flush_ms", "5", "--not", "x"], "unexpected extra argument"),
        (["lst"], "Did you mean list?"),
        (["list", "--store", "params.db"], "named by a URL: sqlite:///parameters.db"),
        (["list", "--store", "sqlite:///"], "names no file"),
        (["list", "--store", "postgresql://a:b@c@d/e"], "as %40 or %2F"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_changes_nothing(
    arguments: list[str], said: str, run: Run
) -> None:
    ended = run("parameters", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1
    assert run("parameters", "history").out == "No parameter was ever changed.\n"


def test_a_store_that_cannot_be_reached_is_exit_code_1(run: Run) -> None:
    url = "postgresql://app:sEcReT@127.0.0.1:1/shop"
    for arguments in (["list"], ["set", "sqs_flush_ms", "5"]):
        ended = run("parameters", *arguments, "--store", url)
        assert ended.code == 1
        assert "postgresql://app@127.0.0.1:1/shop could not be used" in ended.err
        assert "sEcReT" not in ended.err
    ended = run("parameters", "set", "sqs_flush_ms", "5", "--store", "sqlite:///no/such/dir.db")
    assert ended.code == 1
    assert "Check that its directory exists" in ended.err


def test_the_store_is_also_named_by_a_variable(
    run: Run, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    monkeypatch.setenv("FOREBAY_PARAMETERS", f"sqlite:///{directory}/mine.db")
    run("parameters", "set", "sqs_flush_ms", "50")
    assert (directory / "mine.db").exists()
    assert not (directory / ".forebay").exists()
    other = run("parameters", "get", "sqs_flush_ms", "--store", "sqlite:///other.db")
    assert other.out == "100\n"


def test_what_sql_wrote_is_shown_as_what_it_is(run: Run) -> None:
    run("parameters", "set", "sqs_batch_size", "5")
    sql(
        "INSERT INTO application_parameters (name, value) VALUES ('sqs_flush_ms', 0),"
        " ('sqs_flushms', 5), ('theirs', 6)"
    )
    listed = run("parameters", "list")
    assert "0 (refused)" in listed.out
    assert listed.err == (
        "Refused: sqs_flush_ms is 0; it must be 1 to 60,000 ms.\n"
        "The table has sqs_flushms, which is no parameter. Did you mean sqs_flush_ms?\n"
    )
    assert "Refused in the table: " in run("parameters", "get", "sqs_flush_ms").err
    assert json.loads(run("parameters", "get", "sqs_flush_ms", "--json").out)["value"] is None


@contextmanager
def watching(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A watch in a process of its own, and the lines it has printed."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "forebay", "parameters", "watch", "--every", "0.05"),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines: list[str] = []
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        lines.extend(iter(output.readline, ""))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()
        reader.join()
        output.close()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.01)


def test_changes_are_watched_as_they_come_until_ctrl_c(run: Run, directory: Path) -> None:
    run("parameters", "set", "sqs_flush_ms", "50")
    with watching() as (process, lines):
        eventually(lambda: len(lines) == 1)
        assert lines[0].endswith(": 1 set.\n")
        run("parameters", "set", "sqs_flush_ms", "60", "--by", "bob", "--note", "a sale")
        run("parameters", "reset", "sqs_flush_ms")
        eventually(lambda: len(lines) == 3)
        assert "sqs_flush_ms  50 → 60, by bob: a sale" in lines[1]
        assert "sqs_flush_ms  60 → not set, by ada" in lines[2]
        sql("INSERT INTO application_parameters (name, value) VALUES ('sqs_flush_ms', '0')")
        eventually(lambda: len(lines) == 4)
        assert lines[3].endswith(
            "sqs_flush_ms  not set → 0, by SQL. Refused: sqs_flush_ms is 0; it must be"
            " 1 to 60,000 ms.\n"
        )
        place = directory / ".forebay" / "parameters.sqlite3"
        place.rename(directory / "away")
        eventually(lambda: len(lines) == 5)
        assert "Waiting for it." in lines[4]
        (directory / "away").rename(place)
        eventually(lambda: len(lines) == 6)
        assert "is back" in lines[5]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert len(lines) == 6


def test_a_watch_ends_by_itself_and_prints_json(run: Run) -> None:
    with watching("--seconds", "0.2", "--json") as (process, lines):
        assert process.wait(20) == 0
    assert lines == ["Watching the parameters at .forebay/parameters.sqlite3: 0 set.\n"]


def test_profiles_are_listed_shown_and_compared(run: Run) -> None:
    listed = run("profile", "list")
    assert listed.code == 0
    for name in ("demo", "production", "stress"):
        assert name in listed.out
        assert name in {each["name"] for each in json.loads(run("profile", "list", "--json").out)}
    own = run("profile", "show", "stress").out
    assert "50 ms" in own
    assert "sqs_batch_size" not in own
    resolved = run("profile", "show", "stress", "--resolved").out
    assert "10 messages" in resolved
    assert "base" in resolved
    shown = json.loads(run("profile", "show", "stress", "--resolved", "--json").out)
    assert shown["parameters"]["sqs_flush_ms"] == 50
    assert shown["parameters"]["sqs_batch_size"] == 10
    differ = run("profile", "diff", "production", "stress").out
    assert "100 ms" in differ
    assert "sqs_batch_size" not in differ
    assert json.loads(run("profile", "diff", "base", "demo", "--json").out)["sqs_flush_ms"] == {
        "base": None,
        "demo": 500,
    }
    assert run("profile", "diff", "demo", "demo").out == "demo and demo set the same.\n"


def test_a_profile_is_applied_whole_after_a_look_that_changes_nothing(
    run: Run, directory: Path
) -> None:
    dry = run("profile", "apply", "stress", "--dry-run")
    assert dry.code == 0
    assert "Nothing was changed." in dry.out
    assert list(directory.iterdir()) == []
    assert run("profile", "apply", "stress").code == 0
    history = json.loads(run("parameters", "history", "--json").out)
    assert {each["name"]: each["new"] for each in history} == {
        "sqs_batch_size": "10",
        "sqs_timeout_ms": "3000",
        "sqs_buffer_size": "100000",
        "sqs_flush_ms": "50",
    }
    assert {each["note"] for each in history} == {"profile stress"}
    assert run("profile", "apply", "stress").out == "All is as stress says already.\n"
    dry = run("profile", "apply", "production", "--dry-run", "--json")
    assert json.loads(dry.out) == {
        "profile": "production",
        "dry_run": True,
        "changes": [
            {"name": "sqs_buffer_size", "old": "100000", "new": "50000"},
            {"name": "sqs_flush_ms", "old": "50", "new": "100"},
        ],
    }


def test_a_profile_of_one_s_own_is_applied_or_refused_whole(run: Run, directory: Path) -> None:
    own = directory / "profiles"
    own.mkdir()
    mine = own / "mine.toml"
    mine.write_text(
        'description = "Mine."\ninherits = "demo"\n[parameters]\nworker_concurrency = 8\n'
    )
    assert run("profile", "apply", "mine", "--profiles", str(own)).code == 0
    run("parameters", "set", "worker_concurrency_min", "8")
    mine.write_text(
        'description = "Mine."\n[parameters]\nworker_concurrency = 7\nsqs_flush_ms = 5\n'
    )
    for more in ([], ["--dry-run"]):
        ended = run("profile", "apply", "mine", "--profiles", str(own), *more)
        assert ended.code == 2
        assert "worker_concurrency_min is 8; it must be at most worker_concurrency" in ended.err
    assert run("parameters", "get", "sqs_flush_ms").out == "500\n"
    mine.write_text('description = "Mine."\n[parameters]\nsqs_flush_ms = 0\n')
    ended = run("profile", "list", "--profiles", str(own))
    assert ended.code == 2
    assert "mine.toml, line 3: sqs_flush_ms is 0; it must be 1 to 60,000 ms." in ended.err
    ended = run("profile", "show", "prodction")
    assert (ended.code, "Did you mean production?" in ended.err) == (2, True)


@pytest.mark.parametrize("group", ["parameters", "profile"])
def test_every_command_explains_itself_with_an_example(group: str, run: Run) -> None:
    from forebay.cli.main import GROUPS  # noqa: PLC0415 - its import sets up the whole command

    for name in GROUPS[group][0]:
        ended = run(group, name, "-h")
        assert ended.code == 0
        assert f"forebay {group} {name}" in ended.out.replace("Usage: ", "", 1)
