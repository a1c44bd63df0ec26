"""What the journal on disk promises beyond the contract: failures, crashes and formats."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from forebay.broker.journal import schema, sqlite
from forebay.broker.journal.schema import migrations
from forebay.broker.journal.sqlite import LOG_FILE, TABLES_FILE, SqliteJournal
from forebay.errors import DataDirectoryInUse, JournalError, JournalTooNew
from tests.broker.journals import HeldExecutor
from tests.contract.test_journals import changes, message, sequences

_HOLD_A_JOURNAL = """
import sys
from pathlib import Path
from forebay.broker.journal.sqlite import SqliteJournal
journal = SqliteJournal(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "data")
    yield journal
    journal.close()


@contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def crash_image(journal: SqliteJournal, directory: Path) -> Path:
    """The files as they are now, as a crash would leave them."""
    return shutil.copytree(journal.directory, directory)


def test_a_journal_is_quick_as_long_as_its_commits_are(tmp_path: Path) -> None:
    took_s = 0.0
    seconds = iter_of(lambda: took_s)
    with closing(SqliteJournal(tmp_path, stopwatch=lambda: next(seconds))) as journal:
        quick = []
        for number, took_s in enumerate([0.0001, 0.1, 0.0001, *[0.0001] * 30], 1):  # noqa: B007
            journal.commit(changes(messages=[message(number)]))
            quick.append(journal.is_quick)
    assert quick[0]
    assert not any(quick[1:3])
    assert quick[-1]


def iter_of(took_s: Callable[[], float]) -> Iterator[float]:
    """What a stopwatch says before and after each commit."""
    while True:
        yield 0.0
        yield took_s()


def test_a_value_that_cannot_be_stored_fails_the_commit_alone(journal: SqliteJournal) -> None:
    with pytest.raises(UnicodeEncodeError):
        journal.commit(changes(messages=[message(1), message(2, body="\ud800")]))
    journal.commit(changes(messages=[message(1)]))
    assert sequences(journal) == [1]


def test_a_full_disk_fails_the_commit_and_keeps_what_was_there(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    journal.commit(changes(messages=[message(1)]))
    log_bytes = (tmp_path / "data" / f"{LOG_FILE}-wal").stat().st_size
    with files_at_most(log_bytes + 1_000), pytest.raises(JournalError):
        journal.commit(changes(messages=[message(2, body="x" * 100_000)]))
    assert sequences(journal) == [1]
    journal.commit(changes(messages=[message(3)]))
    journal.close()
    assert sequences(SqliteJournal(tmp_path / "data")) == [1, 3]


def test_a_crash_loses_nothing_that_was_committed(journal: SqliteJournal, tmp_path: Path) -> None:
    for sequence in range(1, 50):
        journal.commit(changes(messages=[message(sequence)]))
    image = crash_image(journal, tmp_path / "image")
    assert sequences(SqliteJournal(image)) == list(range(1, 50))


@pytest.mark.parametrize("torn_bytes", [1, 100, 4_096, 16_384])
def test_a_torn_write_costs_the_commit_that_was_being_written_and_no_other(
    journal: SqliteJournal, tmp_path: Path, torn_bytes: int
) -> None:
    journal.commit(changes(messages=[message(1)]))
    journal.commit(changes(messages=[message(2), message(3)], removed_messages=[1]))
    image = crash_image(journal, tmp_path / "image")
    log = image / f"{LOG_FILE}-wal"
    os.truncate(log, log.stat().st_size - torn_bytes)
    assert sequences(SqliteJournal(image)) == [1]


def test_a_second_broker_is_refused_the_directory_at_once(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    with pytest.raises(DataDirectoryInUse, match=f"process id {os.getpid()} .* another --data"):
        SqliteJournal(tmp_path / "data")
    journal.close()
    SqliteJournal(tmp_path / "data").close()


def test_a_killed_broker_leaves_its_directory_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD_A_JOURNAL, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(DataDirectoryInUse, match=str(holder.pid)):
            SqliteJournal(tmp_path)
        holder.send_signal(signal.SIGKILL)
    SqliteJournal(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"cannot be used: Not a directory.*another --data"):
        SqliteJournal(tmp_path / "file" / "data")


@pytest.mark.parametrize("file", [TABLES_FILE, LOG_FILE])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("somebody's notes\n" * 100)
    with pytest.raises(JournalError, match="is not a journal"):
        SqliteJournal(tmp_path)
    assert (tmp_path / file).read_text().startswith("somebody's notes")


@pytest.mark.parametrize("file", [TABLES_FILE, LOG_FILE])
def test_somebody_elses_database_is_left_alone(tmp_path: Path, file: str) -> None:
    with apsw.Connection(str(tmp_path / file)) as other:
        other.execute("CREATE TABLE notes (text)")
    with pytest.raises(JournalError, match="is not a journal"):
        SqliteJournal(tmp_path)
    assert list(apsw.Connection(str(tmp_path / file)).execute("SELECT * FROM notes")) == []


@pytest.mark.parametrize(("file", "kind"), [(TABLES_FILE, "tables"), (LOG_FILE, "log")])
def test_a_newer_format_is_refused_and_the_directory_is_free_again(
    tmp_path: Path, file: str, kind: str
) -> None:
    SqliteJournal(tmp_path).close()
    database = apsw.Connection(str(tmp_path / file))
    database.pragma("user_version", len(migrations(kind)) + 1)
    database.close()
    for _ in range(2):
        with pytest.raises(JournalTooNew, match="Upgrade Forebay"):
            SqliteJournal(tmp_path)


@pytest.fixture
def small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log be stored in the tables after every few commits."""
    monkeypatch.setattr(sqlite, "FOLD_BYTES", 500)
    monkeypatch.setattr(sqlite, "LOG_BYTES_MAX", 2_000)


@pytest.mark.usefixtures("small_log")
def test_what_was_stored_in_the_tables_leaves_the_log(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    for sequence in range(1, 200):
        journal.commit(changes(messages=[message(sequence)]))
    image = crash_image(journal, tmp_path / "image")
    log = apsw.Connection(str(image / LOG_FILE))
    assert log.execute("SELECT count(*) FROM log").get < 100
    log.close()
    assert sequences(SqliteJournal(image)) == list(range(1, 200))


def test_a_crash_after_the_log_was_stored_and_before_it_forgets_does_nothing_twice(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    journal.commit(changes(messages=[message(1), message(2)]))
    journal.load()
    journal.close()
    image = crash_image(journal, tmp_path / "image")
    log = apsw.Connection(str(image / LOG_FILE))
    assert log.execute("SELECT count(*) FROM log").get == 1
    log.close()
    journal = SqliteJournal(image)
    journal.commit(changes(removed_messages=[1]))
    assert sequences(journal) == [2]
    journal.close()


def test_a_commit_of_the_log_that_cannot_be_read_is_a_clear_error(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    journal.commit(changes(messages=[message(1)]))
    image = crash_image(journal, tmp_path / "image")
    log = apsw.Connection(str(image / LOG_FILE))
    log.execute("UPDATE log SET changes = x'c1'")
    log.close()
    with pytest.raises(JournalError, match=r"log\.db could not be read"):
        SqliteJournal(image)


@pytest.mark.usefixtures("small_log")
def test_tables_that_cannot_be_written_cost_nothing_and_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_BUSY_TIMEOUT_MS", 0)
    journal = SqliteJournal(tmp_path)
    somebody = apsw.Connection(str(tmp_path / TABLES_FILE))
    somebody.execute("BEGIN IMMEDIATE")
    committed: list[int] = []

    def commit_until_the_log_is_full() -> None:
        while len(committed) < 1_000:
            journal.commit(changes(messages=[message(len(committed) + 1)]))
            committed.append(len(committed) + 1)

    with pytest.raises(JournalError, match=r"journal\.db could not be written"):
        commit_until_the_log_is_full()
    with pytest.raises(JournalError, match=r"journal\.db could not be read: database is locked"):
        journal.load()
    somebody.close()
    assert sequences(journal) == committed
    journal.commit(changes(messages=[message(5000)]))
    assert sequences(journal) == [*committed, 5000]
    journal.close()


def test_a_purge_is_swept_out_of_the_tables_while_nobody_asks_for_anything(tmp_path: Path) -> None:
    executor = HeldExecutor()
    journal = SqliteJournal(tmp_path, executor=executor)
    journal.commit(changes(messages=[message(n) for n in range(1, 3001)], purged={1: 2900}))
    held = 0
    while executor.held:
        executor.release()
        held += 1
    reader = apsw.Connection(str(tmp_path / TABLES_FILE))
    assert reader.execute("SELECT count(*) FROM message").get == 100
    assert reader.execute("SELECT count(*) FROM sweep").get == 0
    reader.close()
    assert held > 3
    journal.close()
