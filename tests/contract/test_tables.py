"""The tables of the journal on disk: transactions, formats, purges and how rows are found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from forebay.broker.core.changes import MessageRow, Tally
from forebay.broker.journal.base import Durability
from forebay.broker.journal.schema import APPLICATION_ID, migrations, open_database
from forebay.broker.journal.tables import (
    _LOAD_TENANTS,
    _PAGE,
    _SWEEP_SLICE,
    _TENANT_PAGE,
    Tables,
)
from forebay.errors import JournalError
from tests.contract.test_journals import changes, message, page_of


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    tables = Tables(tmp_path / "journal.db")
    yield tables
    tables.close()


def sequences(tables: Tables, queue: int = 1) -> list[int]:
    return [row[0] for row in tables.page(page_of(queue)).rows]


def test_a_failed_commit_keeps_nothing_and_the_next_one_works(tables: Tables) -> None:
    tables.commit(changes(messages=[message(1)]), 1)
    with pytest.raises(JournalError, match="could not be written") as failure:
        tables.commit(changes(messages=[message(2), message(1)], removed_messages=[9]), 2)
    assert isinstance(failure.value.__cause__, apsw.Error)
    assert sequences(tables) == [1]
    tables.commit(changes(messages=[message(2)]), 2)
    assert sequences(tables) == [1, 2]


def test_an_older_format_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    open_database(path, Durability.OS, migrations("tables")).close()
    later = [*migrations("tables"), "ALTER TABLE message ADD COLUMN priority INTEGER"]
    database = open_database(path, Durability.OS, later)
    assert database.pragma("user_version") == len(later)
    assert database.pragma("application_id") == APPLICATION_ID
    assert list(database.execute("SELECT priority FROM message")) == []
    database.close()


def test_a_migration_that_fails_leaves_the_older_format(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    open_database(path, Durability.OS, migrations("tables")).close()
    broken = [*migrations("tables"), "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1)"]
    with pytest.raises(JournalError, match="no such table: nowhere"):
        open_database(path, Durability.OS, broken)
    database = open_database(path, Durability.OS, migrations("tables"))
    assert not database.table_exists(None, "half")
    database.close()


def test_a_purge_deletes_its_rows_in_slices(tables: Tables) -> None:
    tables.commit(changes(messages=[message(n, queue=1 + n % 2) for n in range(1, 8001)]), 1)
    tables.commit(changes(purged={1: 8000}), 2)
    reader = apsw.Connection(str(tables.path))
    counts: list[int] = []
    while tables.sweeping:
        tables.sweep()
        counts.append(reader.execute("SELECT count(*) FROM message").get)
    reader.close()
    assert counts == [7488, 6976, 6464, 5952, 5440, 4928, 4416, 4000, 4000, 4000]
    assert sequences(tables, queue=1) == []
    assert len(sequences(tables, queue=2)) == 4000


def plan(tables: Tables, statement: str) -> str:
    """How SQLite finds the rows of a statement."""
    database = apsw.Connection(str(tables.path))
    parameters: dict[str, int] | list[int] = [0] * statement.count("?")
    if not parameters:
        parameters = dict.fromkeys(re.findall(r":(\w+)", statement), 0)
    rows = list(database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
    database.close()
    return "\n".join(str(row[3]) for row in rows)


@pytest.mark.parametrize("statement", _SWEEP_SLICE)
def test_a_slice_of_a_purge_reads_its_own_rows_alone(tables: Tables, statement: str) -> None:
    assert "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plan(tables, statement)


def test_a_page_is_found_without_reading_what_stands_before_it(tables: Tables) -> None:
    steps = plan(tables, _PAGE)
    assert "USING INDEX message_page (queue_number=? AND page_key>?)" in steps
    assert "TEMP B-TREE" not in steps


def test_a_page_of_a_tenant_is_found_without_reading_the_others(tables: Tables) -> None:
    steps = plan(tables, _TENANT_PAGE)
    index = "message_tenant (queue_number=? AND message_group_id=? AND page_key>?)"
    assert f"USING INDEX {index}" in steps
    assert "TEMP B-TREE" not in steps


def test_tenants_are_found_without_reading_their_messages(tables: Tables) -> None:
    steps = plan(tables, _LOAD_TENANTS).splitlines()
    searches = [step for step in steps if "message" in step]
    assert len(searches) == 4
    assert all("SEARCH message USING COVERING INDEX message_tenant" in step for step in searches)
    assert not any("TEMP B-TREE" in step for step in steps)


def test_a_message_without_a_tenant_and_one_of_a_fifo_queue_cost_no_entry_of_the_tenants(
    tables: Tables,
) -> None:
    rows = [message(1, page_key=9), message(2, group="a"), message(3, 1, "", 9, "a")]
    tables.commit(changes(messages=rows), 1)
    database = apsw.Connection(str(tables.path))
    entries = database.execute(
        "SELECT sequence FROM message INDEXED BY message_tenant"
        " WHERE message_group_id IS NOT NULL AND page_key <> sequence"
    ).fetchall()
    database.close()
    assert entries == [(3,)]


def delayed(sequence: int, until_ms: int, queue: int = 1) -> MessageRow:
    return (sequence, queue, "id", "", 10, until_ms, 12, "0", None, None, None, until_ms)


def delays(tables: Tables) -> dict[int, list[tuple[int, int]]]:
    return {backlog.queue_number: backlog.delayed for backlog in tables.load().backlogs}


def test_delays_are_counted_over_commits_until_they_end(tables: Tables) -> None:
    first = [delayed(1, 3_000), delayed(2, 2_000), delayed(3, 3_000), delayed(4, 3_000, 2)]
    counted = {1: Tally(9), 2: Tally(9)}
    tables.commit(changes(messages=first, tallies=counted, clock_ms=1_000), 1)
    tables.commit(changes(messages=[delayed(5, 3_000), delayed(6, 900)], clock_ms=1_500), 2)
    assert delays(tables) == {1: [(2_000, 1), (3_000, 3)], 2: [(3_000, 1)]}
    tables.commit(changes(messages=[delayed(7, 2_500)], clock_ms=2_000), 3)
    assert delays(tables) == {1: [(2_500, 1), (3_000, 3)], 2: [(3_000, 1)]}
    tables.commit(changes(clock_ms=2_999), 4)
    assert delays(tables) == {1: [(3_000, 3)], 2: [(3_000, 1)]}


def test_a_purge_ends_the_delays_of_what_was_sent_before_it(tables: Tables) -> None:
    counted = {1: Tally(9), 2: Tally(9)}
    first = [delayed(1, 3_000), delayed(2, 3_000, 2)]
    tables.commit(changes(messages=first, tallies=counted), 1)
    later = [delayed(3, 3_000), delayed(4, 3_000), delayed(5, 4_000)]
    tables.commit(changes(messages=later, purged={1: 3}), 2)
    assert delays(tables) == {1: [(3_000, 1), (4_000, 1)], 2: [(3_000, 1)]}
