"""What the journal on disk promises beyond the contract: failures, crashes and formats."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from forebay.broker.journal.base import Durability
from forebay.broker.journal.schema import APPLICATION_ID, migrations, open_database
from forebay.broker.journal.sqlite import (
    _PAGE,
    _SWEEP_SLICE,
    JOURNAL_FILE,
    SqliteJournal,
)
from forebay.errors import DataDirectoryInUse, JournalError, JournalTooNew
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
    return shutil.copytree(journal.path.parent, directory)


def test_a_failed_commit_keeps_nothing_and_the_next_one_works(journal: SqliteJournal) -> None:
    journal.commit(changes(messages=[message(1)]))
    with pytest.raises(JournalError, match="could not be written") as failure:
        journal.commit(changes(messages=[message(2), message(1)], removed_messages=[1]))
    assert isinstance(failure.value.__cause__, apsw.Error)
    assert sequences(journal) == [1]
    journal.commit(changes(messages=[message(2)]))
    assert sequences(journal) == [1, 2]


def test_a_value_that_cannot_be_stored_fails_the_commit_alone(journal: SqliteJournal) -> None:
    with pytest.raises(UnicodeEncodeError):
        journal.commit(changes(messages=[message(1), message(2, body="\ud800")]))
    journal.commit(changes(messages=[message(1)]))
    assert sequences(journal) == [1]


def test_a_full_disk_fails_the_commit_and_keeps_what_was_there(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    journal.commit(changes(messages=[message(1)]))
    log_bytes = (tmp_path / "data" / f"{JOURNAL_FILE}-wal").stat().st_size
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
    log = image / f"{JOURNAL_FILE}-wal"
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


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_FILE).write_text("somebody's notes\n" * 100)
    with pytest.raises(JournalError, match="is not a journal"):
        SqliteJournal(tmp_path)
    assert (tmp_path / JOURNAL_FILE).read_text().startswith("somebody's notes")


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    with apsw.Connection(str(tmp_path / JOURNAL_FILE)) as other:
        other.execute("CREATE TABLE notes (text)")
    with pytest.raises(JournalError, match="is not a journal"):
        SqliteJournal(tmp_path)
    assert list(apsw.Connection(str(tmp_path / JOURNAL_FILE)).execute("SELECT * FROM notes")) == []


def test_a_newer_format_is_refused_and_the_directory_is_free_again(tmp_path: Path) -> None:
    SqliteJournal(tmp_path).close()
    database = apsw.Connection(str(tmp_path / JOURNAL_FILE))
    database.pragma("user_version", len(migrations()) + 1)
    database.close()
    for _ in range(2):
        with pytest.raises(JournalTooNew, match="Upgrade Forebay"):
            SqliteJournal(tmp_path)


def test_an_older_format_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    open_database(path, Durability.OS, migrations()).close()
    later = [*migrations(), "ALTER TABLE message ADD COLUMN priority INTEGER"]
    database = open_database(path, Durability.OS, later)
    assert database.pragma("user_version") == len(later)
    assert database.pragma("application_id") == APPLICATION_ID
    assert list(database.execute("SELECT priority FROM message")) == []
    database.close()


def test_a_migration_that_fails_leaves_the_older_format(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    open_database(path, Durability.OS, migrations()).close()
    broken = [*migrations(), "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1)"]
    with pytest.raises(JournalError, match="no such table: nowhere"):
        open_database(path, Durability.OS, broken)
    database = open_database(path, Durability.OS, migrations())
    assert not database.table_exists(None, "half")
    database.close()


def test_a_purge_deletes_its_rows_in_slices_behind_later_commits(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    journal.commit(changes(messages=[message(n, queue=1 + n % 2) for n in range(1, 2001)]))
    reader = apsw.Connection(str(tmp_path / "data" / JOURNAL_FILE))
    journal.commit(changes(purged={1: 2000}))
    counts: list[int] = []
    while not counts or counts[-1] > 1000:
        journal.commit(changes(deliveries={}))
        counts.append(reader.execute("SELECT count(*) FROM message").get)
    reader.close()
    assert counts == [1500, 1250, 1000]
    assert len(sequences(journal) + sequences(journal, queue=2)) == 1000


def plan(journal: SqliteJournal, statement: str) -> str:
    """How SQLite finds the rows of a statement."""
    database = apsw.Connection(str(journal.path))
    parameters: dict[str, int] | list[int] = [0] * statement.count("?")
    if not parameters:
        parameters = dict.fromkeys(
            ("queue_number", "after_key", "after_sequence", "through_sequence"), 0
        )
    rows = list(database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
    database.close()
    return "\n".join(str(row[3]) for row in rows)


@pytest.mark.parametrize("statement", _SWEEP_SLICE)
def test_a_slice_of_a_purge_reads_its_own_rows_alone(
    journal: SqliteJournal, statement: str
) -> None:
    assert "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan(journal, statement)


def test_a_page_is_found_without_reading_what_stands_before_it(journal: SqliteJournal) -> None:
    steps = plan(journal, _PAGE)
    assert "USING INDEX message_page (queue_number=? AND page_key>?)" in steps
    assert "TEMP B-TREE" not in steps
