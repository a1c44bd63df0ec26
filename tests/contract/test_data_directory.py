"""Nobody but its owner can read a data directory: its files hold bodies of messages."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forebay.broker.journal.directory import LOCK_FILE
from forebay.broker.journal.sqlite import LOG_FILE, TABLES_FILE, SqliteJournal
from tests.contract.test_journals import changes, message


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def modes(directory: Path) -> dict[str, str]:
    return {path.name: mode(path) for path in directory.iterdir()}


def use(directory: Path) -> dict[str, str]:
    """The modes of the files while a journal is in use."""
    journal = SqliteJournal(directory)
    try:
        journal.commit(changes(messages=[message(1)]))
        return modes(directory)
    finally:
        journal.close()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_whatever_the_umask_directory_and_files_are_the_owners_alone(
    tmp_path: Path, mask: int
) -> None:
    directory = tmp_path / "above" / "data"
    with umask(mask):
        in_use = use(directory)
    assert in_use.keys() >= {LOCK_FILE, TABLES_FILE, LOG_FILE, f"{LOG_FILE}-wal"}
    assert set(in_use.values()) == {"0o600"}
    assert set(modes(directory).values()) == {"0o600"}
    assert mode(directory) == "0o700"


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    use(tmp_path / "data")
    for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]:
        path.chmod(0o755)
    assert set(use(tmp_path / "data").values()) == {"0o600"}
    assert mode(tmp_path / "data") == "0o700"


def test_a_directory_with_other_files_keeps_its_mode_and_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "notes").touch(0o644)
    in_use = use(tmp_path)
    assert in_use.pop("notes") == "0o644"
    assert set(in_use.values()) == {"0o600"}
    assert mode(tmp_path) == "0o755"
    assert f"Others may look into the data directory {tmp_path}" in caplog.text
