"""A usage store in an SQLite file, shared by the processes of one machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

from forebay.apps.usage import report_queries
from forebay.apps.usage.admission import admit
from forebay.apps.usage.event_table import EVENT_TABLES, EventTable, EventTables
from forebay.apps.usage.retention import DAY_MS, Retention, Span, day_name, days_ago_ms
from forebay.apps.usage.sqlite import percentiles
from forebay.apps.usage.sqlite.migrate import migrate, require_tables
from forebay.apps.usage.sqlite.transaction import write_packs
from forebay.apps.usage.store import (
    By,
    KeyUsage,
    Latencies,
    Maintained,
    Moment,
    Partition,
    Rate,
    Totals,
    Written,
)
from forebay.clock import Clock, SystemClock
from forebay.sqlite import SharedWriter
from forebay.worker.packs import Pack

#: Most rows that are deleted in one transaction: others write in between.
_DELETED_MAX = 20_000


class SqliteUsageStore:
    """A UsageStore in a file.

    Days have no partitions here: what has been kept long enough is deleted by its time.
    """

    def __init__(
        self,
        writer: SharedWriter,
        *,
        retention: Retention | None = None,
        tables: Iterable[EventTable] = EVENT_TABLES,
        clock: Clock | None = None,
    ) -> None:
        self._writer = writer
        self._retention = retention or Retention()
        self._tables = EventTables(tables)
        self._clock = clock or SystemClock()

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        retention: Retention | None = None,
        tables: Iterable[EventTable] = EVENT_TABLES,
        clock: Clock | None = None,
        durable: bool = True,
        make_tables: bool = True,
    ) -> SqliteUsageStore:
        """Open or create the file. Raises StoreError.

        Without `make_tables` nothing is made: NoUsageTables is raised when they are not there.

        With `durable` what was written survives the loss of power; without, the death of processes
        alone.
        """
        if not make_tables:
            await asyncio.to_thread(require_tables, path)
        writer = await SharedWriter.open(path, durable=durable)
        try:
            if make_tables:
                await writer.run(migrate)
        except BaseException:
            await writer.close()
            raise
        return cls(writer, retention=retention, tables=tables, clock=clock)

    async def write(self, packs: Sequence[Pack[Any]]) -> Written:
        now_ms = self._clock.wall_ms()
        taken_in = self._retention.taken_in(now_ms)
        tables = [self._tables.of_pack(pack) for pack in packs]

        def write(connection: apsw.Connection) -> Written:
            admitted = [
                admit(pack, table, taken_in) for pack, table in zip(packs, tables, strict=True)
            ]
            return write_packs(connection, admitted, now_ms)

        return await self._writer.run(write)

    async def maintain(self, *, days_ahead: int = 7) -> Maintained:  # noqa: ARG002 - no partitions
        now_ms = self._clock.wall_ms()
        kept = self._retention
        dropped: list[str] = []
        for table, time, days_kept in (
            *((each.table, "at_ms", kept.events_days) for each in self._tables),
            ("usage_seen", "at_ms", kept.ids_days),
            ("usage_rejects", "rejected_ms", kept.rejects_days),
        ):
            before_ms = days_ago_ms(now_ms, days_kept)
            dropped += [
                name for name, _, end_ms in await self._days(table, time) if end_ms <= before_ms
            ]
            await self._delete(table, time, before_ms)
        forgotten = await self._delete(
            "usage_packs", "written_ms", days_ago_ms(now_ms, kept.ids_days)
        )
        return Maintained(dropped=tuple(dropped), ids_forgotten=forgotten)

    async def partitions(self) -> list[Partition]:
        tables = [
            *((each.table, "at_ms") for each in self._tables),
            ("usage_rejects", "rejected_ms"),
            ("usage_seen", "at_ms"),
        ]
        return [
            Partition(table, name, Span(from_ms, to_ms))
            for table, time in sorted(tables)
            for name, from_ms, to_ms in await self._days(table, time)
        ]

    async def totals(self) -> Totals:
        return report_queries.as_totals(
            (await self._rows(report_queries.totals_query(self._tables), {}))[0]
        )

    async def usage(self, *, limit: int = 100) -> list[KeyUsage]:
        return report_queries.as_usage(await self._rows(report_queries.USAGE, {"limit": limit}))

    async def latencies(
        self, by: By, span: Span | None = None, *, limit: int = 100
    ) -> list[Latencies]:
        query = percentiles.latencies_query(by, span, limit)
        return report_queries.as_latencies(await self._rows(*query))

    async def latencies_over_time(
        self, by: By, step_ms: int, span: Span | None = None
    ) -> list[Moment]:
        query = percentiles.latencies_over_time_query(by, step_ms, span)
        return report_queries.as_moments(await self._rows(*query))

    async def rates(self, step_ms: int, span: Span | None = None) -> list[Rate]:
        query = report_queries.rates_query(step_ms, span)
        return report_queries.as_rates(await self._rows(*query))

    async def close(self) -> None:
        await self._writer.close()

    async def _rows(self, query: str, values: dict[str, object]) -> list[Any]:
        return await self._writer.read(
            lambda connection: connection.execute(query, values).fetchall()
        )

    async def _days(self, table: str, time: str) -> list[tuple[str, int, int]]:
        """The days that a table has rows of: name, begin and end."""
        # From each day to the next in the index; not through all rows.
        query = (
            f"WITH RECURSIVE days (day) AS (SELECT min({time}) / {DAY_MS} FROM {table} UNION ALL"  # noqa: S608
            f" SELECT (SELECT min({time}) / {DAY_MS} FROM {table}"
            f" WHERE {time} >= (day + 1) * {DAY_MS}) FROM days WHERE day IS NOT NULL)"
            " SELECT day FROM days WHERE day IS NOT NULL"
        )
        return [
            (f"{table} {day_name(day)}", day * DAY_MS, (day + 1) * DAY_MS)
            for (day,) in await self._rows(query, {})
        ]

    async def _delete(self, table: str, time: str, before_ms: int) -> int:
        """Delete what is older, some of it at a time."""
        key = "(at_ms, id)" if table == "usage_seen" else "rowid"
        statement = (
            f"DELETE FROM {table} WHERE {key} IN (SELECT {key.strip('()')} FROM {table}"  # noqa: S608
            f" WHERE {time} < ? LIMIT {_DELETED_MAX})"
        )

        def delete(connection: apsw.Connection) -> int:
            connection.execute(statement, (before_ms,))
            return connection.changes()

        deleted = 0
        while some := await self._writer.run(delete):
            deleted += some
        return deleted
