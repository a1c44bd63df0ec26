"""A usage store in PostgreSQL, shared by any number of machines.

A transaction runs in a thread, on a connection that blocks: making half a million rows takes a
processor for most of a second, and the loop that renews the messages' leases goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import psycopg
from msgspec.structs import replace
from psycopg import AsyncConnection, Connection, IsolationLevel
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import CheckViolation, DeadlockDetected, SerializationFailure
from psycopg_pool import ConnectionPool, PoolTimeout

from forebay.apps.usage import report_queries
from forebay.apps.usage.admission import Admitted, admit
from forebay.apps.usage.event_table import EVENT_TABLES, EventTable, EventTables
from forebay.apps.usage.postgres import percentiles
from forebay.apps.usage.postgres.partitions import (
    TableDay,
    drop_partitions,
    make_partitions,
    partitions,
)
from forebay.apps.usage.postgres.transaction import write_packs
from forebay.apps.usage.report_queries import Query
from forebay.apps.usage.retention import Retention, Span, day_of, days_ago_ms
from forebay.apps.usage.store import (
    By,
    KeyUsage,
    Latencies,
    Maintained,
    Moment,
    NoUsageTables,
    PackRefused,
    Partition,
    Rate,
    Totals,
    UsageStoreTooNew,
    Written,
)
from forebay.backoff import backoff_s, jitter
from forebay.clock import Clock, SystemClock
from forebay.errors import StoreError
from forebay.sql.on_postgres import in_one_line, migrate, require_tables, run_steps_at_once
from forebay.sql.steps import Rows, Steps
from forebay.worker.packs import Pack

T = TypeVar("T")

_Connection: TypeAlias = Connection[tuple[Any, ...]]

#: Where the numbered files are, and the table of those that a database has seen.
_PACKAGE, _VERSIONS = "forebay.apps.usage.postgres", "usage_schema"

#: How long a call waits for a connection, in seconds. There is one for each call, so that it is the
#: database who lets it wait; the pool goes on connecting for the next call.
_CONNECTION_WAIT_S = 3.0

#: How long a connection may take that only tells why the pool got none, in seconds.
_ASK_WHY_S = 3

#: What a conninfo has unless it says something else: a server that is gone is noticed.
_CONNINFO = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

#: Most tries of a transaction that PostgreSQL gives up because of another one.
_TRIES_MAX = 6

#: Bounds of the pause before such a transaction is tried again, in seconds.
_RETRY_BASE_S, _RETRY_MAX_S = 0.01, 0.5

#: Classes of errors that the data brings: data exceptions, violated constraints, exceeded limits.
#: Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_REFUSALS = {"22", "23", "54"}

#: What has partitions beside the tables of events, and the column that they go by.
_SEEN, _REJECTS = "usage_seen", "usage_rejects"

#: Ids of packs that are deleted in one statement.
_FORGOTTEN_MAX = 50_000

_FORGET = (
    "DELETE FROM usage_packs WHERE id IN"
    " (SELECT id FROM usage_packs WHERE written_ms < %s LIMIT %s FOR UPDATE SKIP LOCKED)"
)

#: A message is deleted once its transaction is on the disk, whatever the server's default is.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)


class PostgresUsageStore:
    """A UsageStore in a PostgreSQL database. Open it with `open`."""

    def __init__(
        self,
        pool: ConnectionPool[_Connection],
        *,
        retention: Retention | None = None,
        tables: Iterable[EventTable] = EVENT_TABLES,
        clock: Clock | None = None,
    ) -> None:
        self._pool = pool
        self._threads = ThreadPoolExecutor(pool.max_size, thread_name_prefix="usage-store")
        self._retention = retention or Retention()
        self._tables = EventTables(tables)
        self._clock = clock or SystemClock()
        #: The partitions that were seen to be there.
        self._there: set[TableDay] = set()
        self._closed = False

    @classmethod
    async def open(
        cls,
        conninfo: str,
        *,
        retention: Retention | None = None,
        tables: Iterable[EventTable] = EVENT_TABLES,
        clock: Clock | None = None,
        connections_max: int = 4,
        make_tables: bool = True,
    ) -> PostgresUsageStore:
        """Connect, and make the tables or bring them to today's form.

        The tables are in the first schema of the connections' search_path. Without `make_tables`
        nothing is made there. Raises StoreError when that cannot be done, and then NoUsageTables
        when they are not there.
        """
        try:
            given = conninfo_to_dict(conninfo)
            conninfo = make_conninfo(conninfo, **{**_CONNINFO, **given})
        except psycopg.Error:
            # Its own error repeats the text, which may hold a password.
            raise StoreError(
                "The address of the usage database cannot be read. It must look like"
                " postgresql://writer@db/usage or 'host=db dbname=usage user=writer'."
            ) from None
        try:
            async with await AsyncConnection.connect(conninfo) as connection:
                if make_tables:
                    await migrate(connection, _PACKAGE, _VERSIONS, UsageStoreTooNew)
                else:
                    await require_tables(
                        connection,
                        _PACKAGE,
                        _VERSIONS,
                        missing=NoUsageTables,
                        too_new=UsageStoreTooNew,
                    )
        except psycopg.Error as error:
            raise StoreError(
                f"The usage database could not be opened: {in_one_line(error)}. Check that"
                " PostgreSQL runs, and that the address and the user's rights are right."
            ) from error
        pool: ConnectionPool[_Connection] = ConnectionPool(
            conninfo,
            min_size=1,
            max_size=connections_max,
            timeout=_CONNECTION_WAIT_S,
            kwargs={"autocommit": True},
            configure=_prepare,
            # One that was closed while nobody used it is replaced.
            check=ConnectionPool.check_connection,
            open=True,
        )
        return cls(pool, retention=retention, tables=tables, clock=clock)

    async def write(self, packs: Sequence[Pack[Any]]) -> Written:
        now_ms = self._clock.wall_ms()
        taken_in = self._retention.taken_in(now_ms)
        tables = [self._tables.of_pack(pack) for pack in packs]

        def write() -> Written:
            by_id: dict[str, Admitted] = {}
            for pack, table in zip(packs, tables, strict=True):
                each = admit(pack, table, taken_in)
                by_id.setdefault(each.id, each)
            admitted = list(by_id.values())
            written = self._whole(lambda connection: self._write(connection, admitted, now_ms))
            again = len(packs) - len(admitted)
            return replace(written, repeated=written.repeated + again)

        return await self._in_thread(write)

    async def maintain(self, *, days_ahead: int = 7) -> Maintained:
        now_ms = self._clock.wall_ms()
        kept = self._retention
        today = day_of(now_ms)
        ids_before_ms = days_ago_ms(now_ms, kept.ids_days)
        ended_by_ms = {
            **{each.table: days_ago_ms(now_ms, kept.events_days) for each in self._tables},
            _SEEN: ids_before_ms,
            _REJECTS: days_ago_ms(now_ms, kept.rejects_days),
        }
        days = [
            (table, day) for table in ended_by_ms for day in range(today, today + days_ahead + 1)
        ]

        def maintain(connection: _Connection) -> Maintained:
            made = make_partitions(connection, days)
            outcome = drop_partitions(connection, ended_by_ms)
            forgotten = 0
            while some := connection.execute(_FORGET, (ids_before_ms, _FORGOTTEN_MAX)).rowcount:
                forgotten += some
            return Maintained(tuple(made), tuple(outcome.dropped), tuple(outcome.in_use), forgotten)

        return await self._in_thread(lambda: self._whole(maintain))

    async def partitions(self) -> list[Partition]:
        names = [*(each.table for each in self._tables), _SEEN, _REJECTS]
        return await self._in_thread(
            lambda: self._whole(lambda connection: partitions(connection, names))
        )

    async def totals(self) -> Totals:
        rows = await self._rows((report_queries.totals_query(self._tables), {}))
        return report_queries.as_totals(rows[0])

    async def usage(self, *, limit: int = 100) -> list[KeyUsage]:
        return report_queries.as_usage(await self._rows((report_queries.USAGE, {"limit": limit})))

    async def latencies(
        self, by: By, span: Span | None = None, *, limit: int = 100
    ) -> list[Latencies]:
        query = percentiles.latencies_query(by, span, limit)
        return report_queries.as_latencies(await self._rows(query))

    async def latencies_over_time(
        self, by: By, step_ms: int, span: Span | None = None
    ) -> list[Moment]:
        query = percentiles.latencies_over_time_query(by, step_ms, span)
        return report_queries.as_moments(await self._rows(query))

    async def rates(self, step_ms: int, span: Span | None = None) -> list[Rate]:
        return report_queries.as_rates(await self._rows(report_queries.rates_query(step_ms, span)))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._threads.shutdown)
        await loop.run_in_executor(None, self._pool.close)

    def _write(self, connection: _Connection, admitted: Sequence[Admitted], now_ms: int) -> Written:
        missing = _days(admitted, now_ms) - self._there
        if missing:
            make_partitions(connection, missing)
            self._there |= missing
        return write_packs(connection, admitted, now_ms)

    async def _rows(self, query: Query) -> Rows:
        def steps() -> Steps[Rows]:
            return (yield query)

        return await self._in_thread(
            lambda: self._whole(lambda connection: run_steps_at_once(connection, steps()))
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError("The store was closed; open it again.")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _whole(self, work: Callable[[_Connection], T]) -> T:
        """Do the work on a connection, again from its beginning when another one was in the way."""
        attempt = 0
        while True:
            try:
                with self._pool.connection() as connection:
                    return work(connection)
            except (SerializationFailure, DeadlockDetected, CheckViolation) as error:
                # The check that is violated is that there is a partition: one was dropped.
                self._there.clear()
                attempt += 1
                if attempt == _TRIES_MAX:
                    raise _failed(error) from error
                time.sleep(
                    backoff_s(attempt, jitter(os.urandom), base_s=_RETRY_BASE_S, max_s=_RETRY_MAX_S)
                )
            except psycopg.Error as error:
                raise _failed(self._why_not(error)) from error

    def _why_not(self, error: psycopg.Error) -> psycopg.Error:
        """What a connection fails on: a pool whose wait is over tells its log alone."""
        if isinstance(error, PoolTimeout) and isinstance(self._pool.conninfo, str):
            try:
                psycopg.connect(self._pool.conninfo, connect_timeout=_ASK_WHY_S).close()
            except psycopg.Error as reason:
                return reason
        return error


def _prepare(connection: _Connection) -> None:
    connection.execute(_DURABLE)
    # One that waited for another's lock has to see what the other did.
    connection.isolation_level = IsolationLevel.READ_COMMITTED


def _days(admitted: Iterable[Admitted], now_ms: int) -> set[TableDay]:
    """The partitions that the packs need."""
    needed: set[TableDay] = set()
    for each in admitted:
        needed.update((each.table.table, day) for day in each.days)
        if not each.sealed:
            needed.update((_SEEN, day) for day in each.days)
        if each.rejects:
            needed.add((_REJECTS, day_of(now_ms)))
    return needed


def _failed(error: psycopg.Error) -> StoreError:
    if (error.sqlstate or "")[:2] in _REFUSALS:
        return PackRefused(f"PostgreSQL does not take it: {in_one_line(error)}.")
    return _unusable(error)


def _unusable(error: psycopg.Error) -> StoreError:
    return StoreError(
        f"The usage database could not be used: {in_one_line(error)}. Nothing was written, or all"
        " of it: the same packs can be written again."
    )
