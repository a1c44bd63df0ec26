"""Records that commit with what the caller does in the same transaction, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import apsw
import psycopg
import pytest
from psycopg.rows import dict_row

from forebay.errors import ForebayError
from forebay.idempotency import (
    AlreadyDone,
    Attempt,
    Guard,
    IdempotencyStore,
    LeaseLost,
    NotCommitted,
    NotInTransaction,
    Performed,
    SideEffect,
    SqliteIdempotencyStore,
    Started,
    advance_in,
    complete_in,
    record_effect_in,
)
from forebay.idempotency.postgres import PostgresIdempotencyStore
from tests.contract.conftest import AnyStore

NOW = 1_700_000_000_000
CREATE = "CREATE TABLE payment (owner TEXT)"


async def settled(value: Any) -> Any:
    """What a function gave, awaited if it was a coroutine's."""
    return await value if inspect.isawaitable(value) else value


class Application(Protocol):
    """An application's own connection to the database in which its store is."""

    connection: Any

    @property
    def store(self) -> AnyStore: ...

    def transaction(self) -> AbstractAsyncContextManager[None]: ...

    async def execute(self, statement: str) -> list[Any]: ...

    async def payments(self) -> list[str]: ...


class OnSqlite:
    def __init__(self, store: SqliteIdempotencyStore, path: Path) -> None:
        self.store: AnyStore = store
        self.connection = apsw.Connection(str(path))
        self.connection.set_busy_timeout(5_000)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        with self.connection:
            yield

    async def execute(self, statement: str) -> list[Any]:
        return self.connection.execute(statement).fetchall()

    async def payments(self) -> list[str]:
        return [owner for (owner,) in await self.execute("SELECT owner FROM payment")]


class OnBlockingPostgres:
    def __init__(self, store: PostgresIdempotencyStore, conninfo: str) -> None:
        self.store: AnyStore = store
        # Rows of another shape than the statements expect, as an application may like them.
        self.connection = psycopg.connect(conninfo, autocommit=True, row_factory=dict_row)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        with self.connection.transaction():
            yield

    async def execute(self, statement: str) -> list[Any]:
        cursor = self.connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    async def payments(self) -> list[str]:
        return [row["owner"] for row in await self.execute("SELECT owner FROM payment")]


class OnPostgres:
    def __init__(self, store: PostgresIdempotencyStore, connection: Any) -> None:
        self.store: AnyStore = store
        self.connection = connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self.connection.transaction():
            yield

    async def execute(self, statement: str) -> list[Any]:
        cursor = await self.connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []

    async def payments(self) -> list[str]:
        return [owner for (owner,) in await self.execute("SELECT owner FROM payment")]


@pytest.fixture(params=["apsw", "psycopg blocking", "psycopg async"])
async def application(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Application]:
    opened: Application
    if request.param == "apsw":
        path = tmp_path / "app.db"
        opened = OnSqlite(await SqliteIdempotencyStore.open(path, durable=False), path)
    else:
        conninfo = request.getfixturevalue("postgres")
        store = await PostgresIdempotencyStore.open(conninfo)
        if request.param == "psycopg blocking":
            opened = OnBlockingPostgres(store, conninfo)
        else:
            connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
            opened = OnPostgres(store, connection)
    await opened.execute(CREATE)
    yield opened
    await settled(opened.connection.close())
    await opened.store.close()


async def test_an_effect_in_our_database_commits_with_its_mark(application: Application) -> None:
    async def pay(attempt: Attempt) -> None:
        async with application.transaction():
            await application.execute("INSERT INTO payment VALUES ('ada')")
            await settled(complete_in(application.connection, attempt, b"receipt"))

    guard = Guard(application.store)
    assert await guard.run(("delivery 1", "order 7"), pay) == Performed(b"receipt")
    assert await guard.run(("delivery 2", "order 7"), pay) == AlreadyDone(b"receipt")
    assert await guard.run("delivery 1", pay) == AlreadyDone(b"receipt")
    assert await application.payments() == ["ada"]


async def test_a_transaction_that_fails_leaves_neither_the_effect_nor_the_mark(
    application: Application,
) -> None:
    fail = True

    async def pay(attempt: Attempt) -> None:
        async with application.transaction():
            await application.execute("INSERT INTO payment VALUES ('ada')")
            await settled(complete_in(application.connection, attempt))
            if fail:
                raise ZeroDivisionError

    guard = Guard(application.store)
    with pytest.raises(ZeroDivisionError):
        await guard.run("k", pay)
    assert await application.payments() == []
    fail = False
    assert await guard.run("k", pay) == Performed(None)
    assert await application.payments() == ["ada"]


async def test_a_transaction_that_was_taken_over_does_not_commit(application: Application) -> None:
    store: IdempotencyStore = application.store

    async def is_taken_over(attempt: Attempt) -> None:
        # As if this process had stood still for longer than its lease.
        await store.begin(attempt.keys, 10_000, attempt.clock.wall_ms() + 60_000)
        async with application.transaction():
            await application.execute("INSERT INTO payment VALUES ('late')")
            await settled(complete_in(application.connection, attempt))

    with pytest.raises(LeaseLost, match="must not commit"):
        await Guard(store).run("k", is_taken_over)
    assert await application.payments() == []


async def test_a_transaction_that_was_rolled_back_in_silence_is_noticed(
    application: Application,
) -> None:
    class Undo(ForebayError):
        """The application changed its mind."""

    async def rolls_back(attempt: Attempt) -> None:
        try:
            async with application.transaction():
                await application.execute("INSERT INTO payment VALUES ('ada')")
                await settled(complete_in(application.connection, attempt))
                raise Undo
        except Undo:
            pass

    guard = Guard(application.store)
    with pytest.raises(NotCommitted, match="not committed"):
        await guard.run("k", rolls_back)
    assert await application.payments() == []
    record = await application.store.find("k")
    assert record is not None
    assert record.error == "the transaction was not committed"


async def test_what_another_attempt_completed_is_not_taken_for_ours(
    application: Application,
) -> None:
    store: IdempotencyStore = application.store

    async def rolls_back_and_is_taken_over(attempt: Attempt) -> None:
        connection = application.connection
        with contextlib.suppress(ZeroDivisionError):
            async with application.transaction():
                await settled(complete_in(connection, attempt))
                raise ZeroDivisionError
        later_ms = attempt.clock.wall_ms() + 60_000
        other = await store.begin(attempt.keys, 10_000, later_ms)
        assert isinstance(other, Started)
        await store.complete(attempt.keys, other.token, b"theirs", later_ms)

    with pytest.raises(NotCommitted):
        await Guard(store).run("k", rolls_back_and_is_taken_over)


async def test_an_effect_that_goes_on_after_its_commit_has_lost_nothing(
    application: Application,
) -> None:
    told: list[bool] = []

    async def goes_on(attempt: Attempt) -> None:
        async with application.transaction():
            await settled(complete_in(application.connection, attempt))
        await asyncio.sleep(0.7)
        told.append(attempt.lease_lost)

    await Guard(application.store, lease_ms=600).run("k", goes_on)
    assert told == [False]


async def test_outside_of_a_transaction_nothing_is_done(application: Application) -> None:
    async def forgets(attempt: Attempt) -> None:
        await settled(complete_in(application.connection, attempt))

    with pytest.raises(NotInTransaction, match="Begin one"):
        await Guard(application.store).run("k", forgets)
    with pytest.raises(NotInTransaction):
        await settled(advance_in(application.connection, "acct-1", 1))
    with pytest.raises(NotInTransaction):
        await settled(record_effect_in(application.connection, "k", SideEffect(NOW, None, "m")))


async def test_a_version_is_applied_in_the_transaction_that_advances_it(
    application: Application,
) -> None:
    async def take(version: int | str, owner: str, *, fail: bool = False) -> bool:
        async with application.transaction():
            newer = await settled(advance_in(application.connection, "acct-1", version))
            if newer:
                await application.execute("DELETE FROM payment")
                await application.execute(f"INSERT INTO payment VALUES ('{owner}')")
            if fail:
                raise ZeroDivisionError
        return bool(newer)

    assert await take(2, "two")
    with pytest.raises(ZeroDivisionError):
        await take(4, "four", fail=True)
    assert not await take(1, "one")
    assert await take(3, "three")
    assert not await take(3, "again")
    assert await application.payments() == ["three"]
    assert await application.store.newest_version("acct-1") == 3
    assert await take("2026-11-22T08:26:00Z", "by time")
    assert not await take("2026-11-22T09:25:59+01:00", "a second before")
    assert await take("2026-11-22T08:26:00.000001Z", "later")


async def test_an_effect_is_recorded_in_the_transaction(application: Application) -> None:
    effect = SideEffect(NOW, b"d", "m", b"r")

    async def record(*, fail: bool) -> None:
        async with application.transaction():
            assert await settled(record_effect_in(application.connection, "k", effect))
            if fail:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await record(fail=True)
    assert await application.store.find_effect("k") is None
    await record(fail=False)
    assert await application.store.find_effect("k") == effect
