"""Parameters in PostgreSQL: sessions at the same time, rights, outages, and the password."""

from __future__ import annotations

import asyncio
import logging
import socket
import time

import psycopg
import pytest

from forebay.errors import SettingsError
from forebay.parameters import (
    LiveParameters,
    ParameterStoreError,
    ParameterStoreTooNew,
    open_store,
)
from forebay.parameters.postgres import store as postgres_store
from forebay.tunables import SCHEMA, live_parameters
from tests.parameters.conftest import as_url

SECRET = "sEcReT-17"


async def test_two_sessions_that_set_at_the_same_time_make_one_history(postgres: str) -> None:
    url = as_url(postgres)
    stores = [open_store(url, SCHEMA) for _ in range(2)]
    # They make the tables at the same time as well.
    await asyncio.gather(
        *(
            stores[number % 2].set({"sqs_flush_ms": number}, by=f"session {number % 2}")
            for number in range(1, 41)
        )
    )
    history = await stores[0].history(limit=100)
    assert sorted(int(each.new or 0) for each in history) == list(range(1, 41))
    assert {each.by for each in history} == {"session 0", "session 1"}
    old = None
    for each in history:
        assert each.old == old
        old = each.new
    for store in stores:
        assert (await store.values())["sqs_flush_ms"].value == old
        await store.close()


async def test_one_who_writes_with_sql_is_waited_for_and_is_what_was_replaced(
    postgres: str,
) -> None:
    store = open_store(as_url(postgres), SCHEMA)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    async with await psycopg.AsyncConnection.connect(postgres) as other:
        await other.execute("UPDATE application_parameters SET value = '77'")
        setting = asyncio.create_task(store.set({"sqs_flush_ms": 60}, by="bob"))
        await _until_blocked(postgres)
        assert not setting.done()
        await other.commit()
    [change] = await setting
    assert (change.old, change.new) == ("77", "60")
    await store.close()


async def _until_blocked(conninfo: str) -> None:
    """Wait until a session waits for a lock."""
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as server:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            cursor = await server.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'forebay parameters' AND wait_event_type = 'Lock'"
            )
            row = await cursor.fetchone()
            if row and row[0]:
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


async def test_reading_makes_no_tables_and_needs_no_right_to_make_any(postgres: str) -> None:
    store = open_store(as_url(postgres), SCHEMA)
    assert await store.values() == {}
    assert await store.history() == []
    with psycopg.connect(postgres, autocommit=True) as server:
        tables = (
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema"
        )
        row = server.execute(tables).fetchone()
        assert row == (0,)
    await store.close()


async def test_who_may_only_write_values_writes_history_from_wherever_he_is(postgres: str) -> None:
    store = open_store(as_url(postgres), SCHEMA)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    with psycopg.connect(postgres, autocommit=True) as server:
        [schema] = server.execute("SELECT current_schema()").fetchone() or [""]
        role = f"writer_{schema}"
        for statement in (
            f"CREATE ROLE {role}",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            f"GRANT SELECT, UPDATE ON {schema}.application_parameters TO {role}",
            "SET search_path = pg_catalog",
            f"SET ROLE {role}",
            f"UPDATE {schema}.application_parameters SET value = '60'",
            "RESET ROLE",
            f"DROP OWNED BY {role}",
            f"DROP ROLE {role}",
        ):
            server.execute(statement.encode())
    change = (await store.history())[-1]
    assert (change.old, change.new, change.by) == ("50", "60", "postgres")
    await store.close()


async def test_tables_of_a_newer_version_are_refused(postgres: str) -> None:
    store = open_store(as_url(postgres), SCHEMA)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    await store.close()
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("INSERT INTO application_parameter_schema (version) VALUES (99)")
    newer = open_store(as_url(postgres), SCHEMA)
    with pytest.raises(ParameterStoreTooNew):
        await newer.set({"sqs_flush_ms": 60}, by="ada")
    await newer.close()


async def test_a_connection_that_died_between_two_looks_is_made_anew(
    postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(as_url(postgres), SCHEMA)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    live = LiveParameters(store)
    await live.poll()
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'forebay parameters'"
        )
        server.execute("UPDATE application_parameters SET value = '60'")
    await live.poll()
    assert live.values == {"sqs_flush_ms": 60}
    assert caplog.records == []
    await store.close()


async def test_tables_that_were_dropped_are_away_and_not_empty(postgres: str) -> None:
    store = open_store(as_url(postgres), SCHEMA)
    await store.set({"sqs_flush_ms": 50}, by="ada")
    live = LiveParameters(store)
    await live.poll()
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("DROP TABLE application_parameters")
    await live.poll()
    assert live.values == {"sqs_flush_ms": 50}
    await store.close()


async def test_a_server_that_never_answers_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_store, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        port = black_hole.getsockname()[1]
        store = open_store(f"postgresql://app:{SECRET}@127.0.0.1:{port}/shop", SCHEMA)
        with pytest.raises(ParameterStoreError, match=r"did not answer within 0\.3 s"):
            await store.values()
        await store.close()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}@127.0.0.1:1/shop",
        f"postgresql://127.0.0.1:1/shop?user=app&password={SECRET}",
        f"postgresql://app:x@{SECRET}@127.0.0.1:1/shop",
        f"postgresql://app:{SECRET}/x@127.0.0.1:1/shop",
        f"postgresql://app:12/{SECRET}@127.0.0.1:1/shop",
        f"postgresql://app:%zz{SECRET}@127.0.0.1:1/shop",
        f"postgresql://app:a#{SECRET}?@127.0.0.1:1/shop",
        f"postgresql://app:[{SECRET}@127.0.0.1:1/shop",
        f"postgresql://app:{SECRET}@127.0.0.1:1/shop?sslmode={SECRET}",
        f"postgresql://app:{SECRET}@127.0.0.1:1/shop?no_such_word=1",
        f"host=127.0.0.1 port=1 password={SECRET}",
        f"mysql://app:{SECRET}@127.0.0.1/shop",
        f"app:{SECRET}@127.0.0.1/shop",
    ],
)
async def test_a_password_is_in_no_error_and_in_no_log(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    try:
        async with live_parameters(url) as live:
            await live.poll()
        store = open_store(url, SCHEMA)
        with pytest.raises(ParameterStoreError) as failed:
            await store.set({"sqs_flush_ms": 50}, by="ada")
        said = [store.name, f"{failed.value}", f"{failed.value.__cause__}"]
        assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1
    except SettingsError as refused:
        said = [f"{refused}"]
    assert SECRET not in "\n".join([*said, caplog.text])
    assert any(said)
