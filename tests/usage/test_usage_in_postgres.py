"""What can go wrong with PostgreSQL, and that nothing is lost or doubled by it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from forebay.apps.usage.postgres import PostgresUsageStore
from forebay.apps.usage.store import PackRefused, Totals, Written
from forebay.clock import ManualClock
from forebay.errors import StoreError
from tests.usage.conftest import postgres_sql
from tests.usage.events import LOG, NOON_MS, pack
from tests.usage.lost_answers import LostAnswers

_FAILING = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') <= {times} THEN {failure}; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER failing BEFORE INSERT ON current_usage FOR EACH STATEMENT EXECUTE FUNCTION fail();
"""


def fail(conninfo: str, failure: str, *, times: int) -> None:
    """Let the last statement of transactions fail so many times."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(_FAILING.format(failure=failure, times=times).encode())


def raising(code: str) -> str:
    return f"RAISE EXCEPTION 'of the test' USING ERRCODE = '{code}'"


async def opened_store(conninfo: str) -> PostgresUsageStore:
    return await PostgresUsageStore.open(conninfo, clock=ManualClock(NOON_MS))


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_transaction_that_another_was_in_the_way_of_is_done_again_whole(
    postgres: str, code: str
) -> None:
    store = await opened_store(postgres)
    fail(postgres, raising(code), times=3)
    assert await store.write([pack("p1", LOG, LOG)]) == Written(2, 0, 1, 0)
    assert await store.totals() == Totals(2, 2, 0, 1)
    assert postgres_sql(postgres)("SELECT last_value FROM tries") == [(4,)]
    await store.close()


async def test_one_that_fails_every_time_is_a_store_error_and_leaves_nothing(
    postgres: str,
) -> None:
    store = await opened_store(postgres)
    fail(postgres, raising("40001"), times=6)
    with pytest.raises(StoreError, match="could not be used: of the test"):
        await store.write([pack("p1", LOG)])
    assert await store.totals() == Totals(0, 0, 0, 0)
    assert await store.write([pack("p1", LOG)]) == Written(1, 0, 1, 0)
    await store.close()


async def test_a_connection_that_breaks_in_the_transaction_leaves_nothing(postgres: str) -> None:
    store = await opened_store(postgres)
    fail(postgres, "PERFORM pg_terminate_backend(pg_backend_pid())", times=1)
    with pytest.raises(StoreError, match="the same packs can be written again"):
        await store.write([pack("p1", LOG)])
    assert await store.totals() == Totals(0, 0, 0, 0)
    assert await store.write([pack("p1", LOG)]) == Written(1, 0, 1, 0)
    await store.close()


async def test_a_connection_that_broke_while_nobody_used_it_is_replaced(postgres: str) -> None:
    store = await opened_store(postgres)
    await store.write([pack("p1", LOG)])
    with store._pool.connection() as connection:
        ours = connection.info.backend_pid
    postgres_sql(postgres)(f"SELECT pg_terminate_backend({ours}, 5000)")
    assert await store.write([pack("p2", LOG)]) == Written(1, 0, 1, 0)
    await store.close()


@pytest.mark.parametrize("sealed", [True, False])
async def test_a_commit_whose_answer_was_lost_is_found_at_the_next_try(
    postgres: str, tmp_path: Path, sealed: bool
) -> None:
    with LostAnswers(postgres) as between:
        store = await opened_store(between.conninfo)
        await store.write([pack("p0", LOG, sealed=sealed)])
        between.lose_next_commit()
        with pytest.raises(StoreError):
            await store.write([pack("p1", LOG, sealed=sealed)])
        assert between.lost == 1
        assert await store.write([pack("p1", LOG, sealed=sealed)]) == Written(0, 0, 0, 1)
        totals = await store.totals()
        await store.close()
    assert (totals.rows, totals.counted) == (2, 2)


async def test_writers_write_each_pack_once_though_transactions_are_serializable_by_default(
    postgres: str,
) -> None:
    conninfo = postgres[:-1] + " -c default_transaction_isolation=serializable'"
    stores = [await opened_store(conninfo) for _ in range(3)]
    packs = [
        pack(f"p{number}", *(replace(LOG, api_key_id=f"k{n}") for n in range(5)))
        for number in range(20)
    ]
    answers = await asyncio.gather(
        *(store.write(packs[start : start + 8]) for store in stores for start in (0, 4, 8, 12))
    )
    assert sum(each.packs for each in answers) == 20
    assert await stores[0].totals() == Totals(100, 100, 0, 20)
    for store in stores:
        await store.close()


async def test_a_cancelled_write_is_whole(postgres: str) -> None:
    store = await opened_store(postgres)
    writing = asyncio.create_task(store.write([pack("p1", *[LOG] * 1000)]))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    written = await store.write([pack("p1", *[LOG] * 1000)])
    assert written.packs + written.repeated == 1
    assert await store.totals() == Totals(1000, 1000, 0, 1)
    await store.close()


async def test_what_is_promised_is_on_the_disk_though_the_server_is_set_otherwise(
    postgres: str,
) -> None:
    conninfo = postgres[:-1] + " -c synchronous_commit=off'"
    store = await opened_store(conninfo)
    with store._pool.connection() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchall() == [("on",)]
    await store.close()


async def test_an_address_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(StoreError, match=r"cannot be read\. It must look like") as caught:
        await opened_store("postgresql://writer:secret@[db/usage")
    assert "secret" not in str(caught.value)


async def test_a_server_that_is_not_there_is_named_with_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"could not be opened: .* Check that PostgreSQL runs"):
        await opened_store(f"host={tmp_path} user=postgres dbname=postgres")


async def test_a_closed_store_says_so(postgres: str) -> None:
    store = await opened_store(postgres)
    await store.close()
    with pytest.raises(StoreError, match="was closed; open it again"):
        await store.write([pack("p1", LOG)])


async def test_a_rule_of_the_operators_own_that_a_row_breaks_is_a_refusal(postgres: str) -> None:
    store = await opened_store(postgres)
    with psycopg.connect(postgres) as connection:
        connection.execute("ALTER TABLE usage_logs ADD CHECK (asset <> 'BTC')")
    with pytest.raises(PackRefused, match="violates check constraint"):
        await store.write([pack("p1", LOG)])
    assert (await store.totals()).packs == 0
    await store.close()
