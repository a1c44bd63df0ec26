from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from forebay.apps.errors import StoreError
from forebay.apps.group_commit import GroupCommit
from forebay.apps.sqlite import open_database

SCHEMA = "CREATE TABLE IF NOT EXISTS counted (number INTEGER NOT NULL)"


@pytest.fixture
async def commits(tmp_path: Path) -> AsyncIterator[GroupCommit]:
    with ThreadPoolExecutor(1) as executor:
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(
            executor, open_database, tmp_path / "counted.sqlite3", SCHEMA
        )
        group_commit = GroupCommit(connection, executor)
        yield group_commit
        await group_commit.close()


def insert(connection: apsw.Connection, number: int) -> int:
    connection.execute("INSERT INTO counted VALUES (?)", (number,))
    if number < 0:
        raise ValueError("a negative number")
    return connection.changes()


def numbers(connection: apsw.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT number FROM counted ORDER BY number")]


async def test_what_an_operation_returned_is_on_disk(commits: GroupCommit, tmp_path: Path) -> None:
    assert await commits.run(lambda connection: insert(connection, 7)) == 1
    with closing(apsw.Connection(str(tmp_path / "counted.sqlite3"))) as other_process:
        assert numbers(other_process) == [7]


async def test_an_operation_that_raises_is_undone_alone(commits: GroupCommit) -> None:
    results = await asyncio.gather(
        *(
            commits.run(lambda connection, number=number: insert(connection, number))  # type: ignore[misc]
            for number in (1, -2, 3)
        ),
        return_exceptions=True,
    )
    assert isinstance(results[1], ValueError)
    assert await commits.read(numbers) == [1, 3]


async def test_a_commit_that_fails_keeps_nothing_and_every_caller_hears_of_it(
    commits: GroupCommit,
) -> None:
    def refuse_to_commit(connection: apsw.Connection) -> None:
        connection.set_commit_hook(lambda: True)

    def allow_commits(connection: apsw.Connection) -> None:
        connection.set_commit_hook(None)

    results = await asyncio.gather(
        commits.run(lambda connection: insert(connection, 1)),
        commits.run(refuse_to_commit),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [StoreError] * 2
    await commits.read(allow_commits)
    assert await commits.read(numbers) == []
    await commits.run(lambda connection: insert(connection, 2))
    assert await commits.read(numbers) == [2]


async def test_it_waits_for_another_process_that_writes(
    commits: GroupCommit, tmp_path: Path
) -> None:
    with closing(apsw.Connection(str(tmp_path / "counted.sqlite3"))) as other_process:
        other_process.execute("BEGIN IMMEDIATE")
        ours = asyncio.create_task(commits.run(lambda connection: insert(connection, 1)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not ours.done()
        insert(other_process, 2)
        other_process.execute("COMMIT")
        assert await ours == 1
    assert await commits.read(numbers) == [1, 2]


async def test_an_error_of_sqlites_is_a_store_error_that_names_the_file(
    commits: GroupCommit,
) -> None:
    def misspelt(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO uncounted VALUES (1)")

    for attempt in (commits.run(misspelt), commits.read(misspelt)):
        with pytest.raises(StoreError, match=r"counted\.sqlite3 .*no such table: uncounted"):
            await attempt
    assert await commits.run(lambda connection: insert(connection, 1)) == 1
