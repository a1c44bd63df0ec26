"""The days of the tables, made ahead and when they are needed, and dropped."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from forebay.apps.usage.postgres import PostgresUsageStore
from forebay.apps.usage.retention import Retention, Span
from forebay.apps.usage.sqlite import SqliteUsageStore
from forebay.apps.usage.store import Maintained, Totals, UsageStore, Written
from forebay.clock import ManualClock
from tests.usage.conftest import Sql, postgres_sql
from tests.usage.events import DAY_MS, LOG, NOON_MS, pack

_TABLES = ("analytics_events", "usage_logs", "usage_rejects", "usage_seen")

#: Midnight before NOON_MS.
TODAY_MS = NOON_MS - DAY_MS // 2


async def in_postgres(conninfo: str, clock: ManualClock, **kept: int) -> PostgresUsageStore:
    return await PostgresUsageStore.open(conninfo, clock=clock, retention=Retention(**kept))


async def test_days_are_made_ahead_once(postgres: str, clock: ManualClock) -> None:
    store = await in_postgres(postgres, clock)
    made = await store.maintain(days_ahead=1)
    assert sorted(made.made) == sorted(
        f"{table}_202611{day}" for table in _TABLES for day in (28, 29)
    )
    assert await store.maintain(days_ahead=1) == Maintained()
    assert [(each.table, each.span) for each in await store.partitions()] == [
        (table, Span(TODAY_MS + day * DAY_MS, TODAY_MS + (day + 1) * DAY_MS))
        for table in _TABLES
        for day in (0, 1)
    ]
    await store.close()


async def test_processes_that_maintain_and_write_at_once_make_each_day_once(
    postgres: str, clock: ManualClock
) -> None:
    stores = [await in_postgres(postgres, clock) for _ in range(4)]
    times = [NOON_MS - day * DAY_MS for day in range(20)]
    answers = await asyncio.gather(
        *(store.maintain(days_ahead=3) for store in stores),
        *(
            store.write([pack(f"p{number}", *[LOG] * 20, times=times)])
            for number, store in enumerate(stores)
        ),
    )
    made = [name for each in answers if isinstance(each, Maintained) for name in each.made]
    assert len(made) == len(set(made))
    assert await stores[0].totals() == Totals(80, 80, 0, 4)
    assert len(await stores[0].partitions()) == 4 * 4 + 19
    for store in stores:
        await store.close()


async def test_a_day_that_nobody_made_is_made_by_its_first_event(
    store: UsageStore, sql: Sql
) -> None:
    times = [NOON_MS - 33 * DAY_MS, NOON_MS, NOON_MS + DAY_MS - 1]
    assert (await store.write([pack("p1", LOG, LOG, LOG, times=times)])).rows == 3
    assert [each.span.from_ms for each in await store.partitions()] == [
        TODAY_MS - 33 * DAY_MS,
        TODAY_MS,
        TODAY_MS + DAY_MS,
    ]


async def test_a_time_far_away_makes_no_partition(store: UsageStore) -> None:
    times = [0, 253_370_764_800_000, NOON_MS]
    written = await store.write([pack("p1", LOG, LOG, LOG, times=times)])
    assert written == Written(1, 2, 1, 0, {"too old": 1, "in the future": 1})
    assert {(each.table, each.span.from_ms) for each in await store.partitions()} == {
        ("usage_logs", TODAY_MS),
        ("usage_rejects", TODAY_MS),
    }


async def test_everything_is_dropped_after_its_own_retention(
    store: UsageStore, sql: Sql, clock: ManualClock
) -> None:
    await store.write(
        [
            pack("p1", LOG, LOG, times=[NOON_MS, 0]),
            pack("e1", LOG, sealed=False),
        ]
    )
    there = {"usage_logs": 2, "usage_seen": 1, "usage_rejects": 1, "usage_packs": 1}

    async def maintained(days: int) -> tuple[int, int]:
        clock.advance(days * DAY_MS)
        done = await store.maintain(days_ahead=0)
        return len(done.dropped), done.ids_forgotten

    def rows() -> dict[str, int]:
        return {table: sql(f"SELECT count(*) FROM {table}")[0][0] for table in there}

    assert await maintained(35) == (0, 0)
    assert rows() == there
    dropped, forgotten = await maintained(1)
    assert (forgotten, rows()) == (1, {**there, "usage_seen": 0, "usage_packs": 0})
    assert dropped >= 1
    await maintained(54)
    assert rows() == {"usage_logs": 2, "usage_seen": 0, "usage_rejects": 1, "usage_packs": 0}
    await maintained(1)
    assert rows() == dict.fromkeys(there, 0)
    # What was used is known for longer.
    assert sql("SELECT sum(events) FROM current_usage")[0][0] == 2


@pytest.mark.parametrize("sealed", [True, False])
async def test_what_comes_again_after_its_id_was_dropped_is_not_written_twice(
    store: UsageStore, clock: ManualClock, sealed: bool
) -> None:
    late = pack("p1", LOG, sealed=sealed, at_ms=NOON_MS + DAY_MS - 1)
    assert (await store.write([late])).rows == 1
    for _ in range(40):
        clock.advance(DAY_MS)
        await store.maintain(days_ahead=0)
        assert (await store.write([late])).rows == 0
    assert (await store.totals()).rows == 1


async def test_a_partition_in_use_is_left_for_another_time(
    postgres: str, clock: ManualClock
) -> None:
    store = await in_postgres(postgres, clock, events_days=2)
    await store.write([pack("p1", LOG)])
    clock.advance(3 * DAY_MS)
    with psycopg.connect(postgres) as report:
        report.execute("SELECT count(*) FROM usage_logs")
        done = await store.maintain(days_ahead=0)
        assert (done.dropped, done.in_use) == ((), ("usage_logs_20261128",))
    done = await store.maintain(days_ahead=0)
    assert (done.dropped, done.in_use) == (("usage_logs_20261128",), ())
    await store.close()


async def test_a_partition_that_somebody_dropped_is_made_again(
    postgres: str, clock: ManualClock
) -> None:
    store = await in_postgres(postgres, clock)
    await store.write([pack("p1", LOG)])
    with psycopg.connect(postgres) as connection:
        connection.execute("DROP TABLE usage_logs_20261128")
    assert await store.write([pack("p2", LOG)]) == Written(1, 0, 1, 0)
    await store.close()


async def test_a_partition_of_the_operators_own_is_used(postgres: str, clock: ManualClock) -> None:
    store = await in_postgres(postgres, clock)
    with psycopg.connect(postgres) as connection:
        connection.execute(
            "CREATE TABLE november PARTITION OF usage_logs FOR VALUES FROM"
            f" ({TODAY_MS - 27 * DAY_MS}) TO ({TODAY_MS + 3 * DAY_MS})".encode()
        )
    await store.write([pack("p1", LOG)])
    assert postgres_sql(postgres)("SELECT count(*) FROM november") == [(1,)]
    assert [each.name for each in await store.partitions()] == ["november"]
    await store.close()


async def test_a_file_is_cleaned_some_rows_at_a_time(
    clock: ManualClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("usage") / "usage.sqlite3"
    store = await SqliteUsageStore.open(path, clock=clock, durable=False)
    await store.write([pack("p1", *[LOG] * 45_000, times=[NOON_MS] * 45_000)])
    clock.advance(91 * DAY_MS)
    assert (await store.maintain()).dropped == ("usage_logs 2026-11-28",)
    assert (await store.totals()).rows == 0
    await store.close()
