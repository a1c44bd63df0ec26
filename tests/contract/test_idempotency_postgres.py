"""What only the store in PostgreSQL can promise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from forebay.idempotency import (
    Done,
    IdempotencyStoreError,
    IdempotencyStoreTooNew,
    InProgress,
    Started,
)
from forebay.idempotency.postgres import PostgresIdempotencyStore
from forebay.sql.steps import Rows, Statement

NOW, LEASE = 1_700_000_000_000, 30_000


@pytest.fixture
async def store(postgres: str) -> AsyncIterator[PostgresIdempotencyStore]:
    opened = await PostgresIdempotencyStore.open(postgres)
    yield opened
    await opened.close()


async def test_many_that_open_a_new_database_at_once_make_its_tables_once(postgres: str) -> None:
    stores = await asyncio.gather(
        *(PostgresIdempotencyStore.open(postgres, connections_max=1) for _ in range(8))
    )
    beginnings = await asyncio.gather(*(each.begin(("k",), LEASE, NOW) for each in stores))
    assert [isinstance(each, Started) for each in beginnings].count(True) == 1
    for each in stores:
        await each.close()
    with psycopg.connect(postgres) as connection:
        rows = connection.execute("SELECT version FROM idempotency_schema").fetchall()
    assert rows == [(1,)]


async def test_everything_is_still_there_after_opening_it_again(postgres: str) -> None:
    first = await PostgresIdempotencyStore.open(postgres)
    beginning = await first.begin(("done",), LEASE, NOW)
    assert isinstance(beginning, Started)
    await first.complete(("done",), beginning.token, b"r", NOW)
    await first.begin(("leased",), LEASE, NOW)
    await first.close()
    again = await PostgresIdempotencyStore.open(postgres, make_tables=False)
    assert await again.begin(("done",), LEASE, NOW) == Done(b"r")
    assert await again.begin(("leased",), LEASE, NOW) == InProgress(NOW + LEASE)
    await again.close()


async def test_tables_of_a_newer_version_are_left_alone(postgres: str) -> None:
    await (await PostgresIdempotencyStore.open(postgres)).close()
    with psycopg.connect(postgres) as connection:
        connection.execute("INSERT INTO idempotency_schema VALUES (99)")
    with pytest.raises(IdempotencyStoreTooNew, match="Upgrade"):
        await PostgresIdempotencyStore.open(postgres)


async def test_without_tables_and_without_making_them_a_call_says_what_is_missing(
    postgres: str,
) -> None:
    store = await PostgresIdempotencyStore.open(postgres, make_tables=False)
    with pytest.raises(IdempotencyStoreError, match="idempotency_record"):
        await store.begin(("k",), LEASE, NOW)
    await store.close()


async def test_a_server_that_is_not_there_is_told_without_a_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forebay.idempotency.postgres.store.CONNECTION_WAIT_S", 0.2)
    with pytest.raises(IdempotencyStoreError, match="Check that PostgreSQL runs") as error:
        await PostgresIdempotencyStore.open("host=/nowhere user=u password=secret dbname=d")
    assert "secret" not in str(error.value)
    with pytest.raises(IdempotencyStoreError, match="store cannot be read") as unread:
        await PostgresIdempotencyStore.open("postgresql//u:secret@h/d")
    assert "secret" not in str(unread.value)
    # And why not, which the pool itself does not say.
    assert "/nowhere" in str(error.value)


async def test_connections_that_the_server_ended_are_replaced(postgres: str) -> None:
    store = await PostgresIdempotencyStore.open(f"{postgres} application_name=to_be_ended")
    try:
        await asyncio.gather(*(store.begin((f"k{number}",), LEASE, NOW) for number in range(8)))
        with psycopg.connect(postgres, autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'to_be_ended'"
            ).fetchall()
        assert ended
        assert await store.begin(("k0",), LEASE, NOW) == InProgress(NOW + LEASE)
    finally:
        # A pool that is left with broken connections holds up the end of the event loop.
        await store.close()


async def test_a_connection_that_is_lost_in_a_transaction_is_an_error_of_the_store(
    store: PostgresIdempotencyStore,
) -> None:
    def dies() -> Generator[Statement, Rows, None]:
        yield "SELECT pg_terminate_backend(pg_backend_pid())", {}

    with pytest.raises(IdempotencyStoreError, match="could not be used"):
        await store._run(dies)
    assert isinstance(await store.begin(("k",), LEASE, NOW), Started)


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_what_postgresql_gave_up_because_of_another_is_tried_again(
    store: PostgresIdempotencyStore, state: str
) -> None:
    tries = 0

    def gives_up_twice() -> Generator[Statement, Rows, str]:
        nonlocal tries
        tries += 1
        if tries < 3:
            yield f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$", {}
        rows = yield "SELECT 'done'", {}
        return str(rows[0][0])

    assert await store._run(gives_up_twice) == "done"
    assert tries == 3


async def test_tries_have_an_end(store: PostgresIdempotencyStore) -> None:
    tries = 0

    def gives_up() -> Generator[Statement, Rows, None]:
        nonlocal tries
        tries += 1
        yield "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", {}

    with pytest.raises(IdempotencyStoreError):
        await store._run(gives_up)
    assert tries == 6


async def test_two_that_lock_each_other_out_both_come_through(
    store: PostgresIdempotencyStore,
) -> None:
    """A real deadlock: each has begun what the other one wants next."""
    locked = asyncio.Event()

    async def lock_backwards() -> None:
        async with store._pool.connection() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO message_status VALUES ('b', 'STARTED', 1, 1, NULL, NULL)"
            )
            locked.set()
            await asyncio.sleep(0.05)
            await connection.execute(
                "INSERT INTO message_status VALUES ('a', 'STARTED', 1, 1, NULL, NULL)"
                " ON CONFLICT DO NOTHING"
            )

    def lock_forwards() -> Generator[Statement, Rows, int]:
        for name in ("a", "b"):
            yield (
                "INSERT INTO message_status VALUES (:name, 'STARTED', 1, 1, NULL, NULL)"
                " ON CONFLICT DO NOTHING",
                {"name": name},
            )
        rows = yield "SELECT count(*) FROM message_status", {}
        return int(rows[0][0])

    async def after_the_lock() -> int:
        await locked.wait()
        return await store._run(lock_forwards)

    # The deadlock is found in the one that waits longest, which is ours.
    backwards, count = await asyncio.gather(
        lock_backwards(), after_the_lock(), return_exceptions=True
    )
    assert backwards is None or isinstance(backwards, psycopg.errors.DeadlockDetected)
    assert count == 2


async def test_serializable_connections_claim_each_key_once(postgres: str) -> None:
    conninfo = postgres.replace(
        "options='", "options='-c default_transaction_isolation=serializable "
    )
    store = await PostgresIdempotencyStore.open(conninfo)
    beginnings = await asyncio.gather(
        *(store.begin((f"k{number % 3}", "all"), LEASE, NOW) for number in range(24))
    )
    assert [isinstance(each, Started) for each in beginnings].count(True) == 1
    await store.close()


async def test_a_pool_of_the_application_s_stays_open(postgres: str) -> None:
    await (await PostgresIdempotencyStore.open(postgres)).close()
    pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(postgres, open=False)
    async with pool:
        store = PostgresIdempotencyStore(pool)
        assert isinstance(await store.begin(("k",), LEASE, NOW), Started)
        await store.close()
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")


async def test_a_pool_without_a_free_connection_is_an_error_of_the_store(postgres: str) -> None:
    await (await PostgresIdempotencyStore.open(postgres)).close()
    pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
        postgres, min_size=1, max_size=1, timeout=0.05, open=False
    )
    async with pool, pool.connection():
        with pytest.raises(IdempotencyStoreError, match="get a connection"):
            await PostgresIdempotencyStore(pool).begin(("k",), LEASE, NOW)


async def test_a_store_that_was_closed_says_so(postgres: str) -> None:
    store = await PostgresIdempotencyStore.open(postgres)
    await store.close()
    with pytest.raises(IdempotencyStoreError, match="closed"):
        await store.begin(("k",), LEASE, NOW)
