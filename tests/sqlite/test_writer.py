from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from forebay.errors import StoreError
from forebay.sqlite import SharedWriter

SCHEMA = "CREATE TABLE IF NOT EXISTS counted (number INTEGER NOT NULL)"


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[SharedWriter]:
    opened = await SharedWriter.open(tmp_path / "counted.sqlite3", SCHEMA)
    yield opened
    await opened.close()
    await opened.close()


def insert(connection: apsw.Connection, number: int) -> int:
    connection.execute("INSERT INTO counted VALUES (?)", (number,))
    if number < 0:
        raise ValueError("a negative number")
    return connection.changes()


def numbers(connection: apsw.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT number FROM counted ORDER BY number")]


async def test_what_an_operation_returned_is_on_disk(writer: SharedWriter, tmp_path: Path) -> None:
    assert await writer.run(lambda connection: insert(connection, 7)) == 1
    with closing(apsw.Connection(str(tmp_path / "counted.sqlite3"))) as other_process:
        assert numbers(other_process) == [7]


async def test_an_operation_that_raises_is_undone_alone(writer: SharedWriter) -> None:
    results = await asyncio.gather(
        *(
            writer.run(lambda connection, number=number: insert(connection, number))  # type: ignore[misc]
            for number in (1, -2, 3)
        ),
        return_exceptions=True,
    )
    assert isinstance(results[1], ValueError)
    assert await writer.read(numbers) == [1, 3]


async def test_a_commit_that_fails_keeps_nothing_and_every_caller_hears_of_it(
    writer: SharedWriter,
) -> None:
    def refuse_to_commit(connection: apsw.Connection) -> None:
        connection.set_commit_hook(lambda: True)

    def allow_commits(connection: apsw.Connection) -> None:
        connection.set_commit_hook(None)

    results = await asyncio.gather(
        writer.run(lambda connection: insert(connection, 1)),
        writer.run(refuse_to_commit),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [StoreError] * 2
    await writer.read(allow_commits)
    assert await writer.read(numbers) == []
    await writer.run(lambda connection: insert(connection, 2))
    assert await writer.read(numbers) == [2]


async def test_it_waits_for_another_process_that_writes(
    writer: SharedWriter, tmp_path: Path
) -> None:
    with closing(apsw.Connection(str(tmp_path / "counted.sqlite3"))) as other_process:
        other_process.execute("BEGIN IMMEDIATE")
        ours = asyncio.create_task(writer.run(lambda connection: insert(connection, 1)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not ours.done()
        insert(other_process, 2)
        other_process.execute("COMMIT")
        assert await ours == 1
    assert await writer.read(numbers) == [1, 2]


async def test_an_error_of_sqlites_is_a_store_error_that_names_the_file(
    writer: SharedWriter,
) -> None:
    def misspelt(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO uncounted VALUES (1)")

    for attempt in (writer.run(misspelt), writer.read(misspelt)):
        with pytest.raises(StoreError, match=r"counted\.sqlite3 .*no such table: uncounted"):
            await attempt
    assert await writer.run(lambda connection: insert(connection, 1)) == 1


async def test_what_comes_during_a_commit_shares_the_next_one(writer: SharedWriter) -> None:
    go = threading.Event()

    def wait(connection: apsw.Connection) -> None:
        go.wait(timeout=10)

    commits: list[int] = []

    def count_commit() -> bool:
        commits.append(1)
        return False

    await writer.read(lambda connection: connection.set_commit_hook(count_commit))
    first = asyncio.create_task(writer.run(wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(writer.run(lambda c: insert(c, 1))) for _ in range(5)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(first, *others) == [None, 1, 1, 1, 1, 1]
    assert len(commits) == 2


async def test_a_caller_that_is_cancelled_stops_nobody_else(writer: SharedWriter) -> None:
    cancelled = asyncio.create_task(writer.run(lambda connection: insert(connection, 1)))
    patient = asyncio.create_task(writer.run(lambda connection: insert(connection, 2)))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await patient == 1
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await writer.read(numbers) == [1, 2]


async def test_closing_finishes_what_waits_and_refuses_the_rest(tmp_path: Path) -> None:
    writer = await SharedWriter.open(tmp_path / "counted.sqlite3", SCHEMA)
    last = asyncio.create_task(writer.run(lambda connection: insert(connection, 1)))
    await asyncio.sleep(0)
    await writer.close()
    assert await last == 1
    for attempt in (writer.run(numbers), writer.read(numbers)):
        with pytest.raises(StoreError, match="was closed"):
            await attempt


async def test_a_file_that_cannot_be_opened_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere.*Check that its directory"):
        await SharedWriter.open(tmp_path / "nowhere" / "counted.sqlite3")
    text = tmp_path / "text.sqlite3"
    text.write_text("not a database, but long enough to look like a header" * 50)
    with pytest.raises(StoreError, match=r"text\.sqlite3.*is an SQLite database"):
        await SharedWriter.open(text)


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration()])
async def test_an_operation_that_would_end_the_thread_ends_nothing(
    writer: SharedWriter, error: BaseException
) -> None:
    def breaks(connection: apsw.Connection) -> None:
        insert(connection, 1)
        raise error

    broken, done = await asyncio.gather(
        writer.run(breaks),
        writer.run(lambda connection: insert(connection, 2)),
        return_exceptions=True,
    )
    assert isinstance(broken, RuntimeError)
    assert done == 1
    assert await writer.read(numbers) == [2]
