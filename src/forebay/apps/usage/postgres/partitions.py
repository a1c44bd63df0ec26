"""The days of the tables: which there are, making them and dropping them.

A partition is made beside its table and attached to it: that waits for no writer and stops none.
Dropping one needs the whole table for a moment, so it waits for a short time and is left for later
when others are at work for longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from psycopg import Connection
from psycopg.errors import LockNotAvailable
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier, Literal

from forebay.apps.usage.retention import DAY_MS, Span, day_name
from forebay.apps.usage.store import Partition

#: Names the lock of who makes or drops partitions: "fb-usage" in ASCII.
_LOCK = int.from_bytes(b"fb-usage", "big")

#: How long a drop waits for those who use the table, in milliseconds. New writers wait with it.
_DROP_WAIT_MS = 2_000

_BOUND = re.compile(r"FROM \('?(-?\d+)'?\) TO \('?(-?\d+)'?\)")

#: A table and a day of it.
TableDay = tuple[str, int]


def partitions(connection: Connection[Any], tables: Sequence[str]) -> list[Partition]:
    """The partitions of the tables, by table and time. Those that are no range are left out."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(
            "SELECT parent.relname, part.relname, pg_get_expr(part.relpartbound, part.oid),"
            " pg_total_relation_size(part.oid)"
            " FROM pg_inherits JOIN pg_class parent ON parent.oid = inhparent"
            " JOIN pg_class part ON part.oid = inhrelid"
            " WHERE inhparent = ANY(%s::text[]::regclass[])",
            (list(tables),),
        )
        found = [
            Partition(table, name, Span(int(bound[1]), int(bound[2])), size_bytes)
            for table, name, text, size_bytes in cursor
            if (bound := _BOUND.search(text))
        ]
    return sorted(found, key=lambda each: (each.table, each.span.from_ms))


def make_partitions(connection: Connection[Any], days: Iterable[TableDay]) -> list[str]:
    """Make those that are not there, in a transaction of their own. Returns their names."""
    wanted = sorted(days)
    made = []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        there = partitions(connection, sorted({table for table, _ in wanted}))
        for table, day in wanted:
            span = Span(day * DAY_MS, (day + 1) * DAY_MS)
            if any(each.table == table and _covers(each.span, span) for each in there):
                continue
            name = f"{table}_{day_name(day).replace('-', '')}"
            connection.execute(
                SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(
                    Identifier(name), Identifier(table)
                )
            )
            connection.execute(
                SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                    Identifier(table),
                    Identifier(name),
                    Literal(span.from_ms),
                    Literal(span.to_ms),
                )
            )
            made.append(name)
    return made


class Dropped(Struct, frozen=True):
    """What became of partitions that were to be dropped, by name."""

    dropped: list[str]
    #: Left for later: others were using their table.
    in_use: list[str]


def drop_partitions(connection: Connection[Any], ended_by_ms: dict[str, int]) -> Dropped:
    """Drop those of each table that ended by a moment, each in a transaction of its own."""
    outcome = Dropped([], [])
    for each in partitions(connection, sorted(ended_by_ms)):
        if each.span.to_ms > ended_by_ms[each.table]:
            continue
        try:
            with connection.transaction():
                connection.execute(
                    SQL("SET LOCAL lock_timeout = {}").format(Literal(_DROP_WAIT_MS))
                )
                # Another process may have dropped it meanwhile.
                connection.execute(SQL("DROP TABLE IF EXISTS {}").format(Identifier(each.name)))
        except LockNotAvailable:
            outcome.in_use.append(each.name)
        else:
            outcome.dropped.append(each.name)
    return outcome


def _covers(there: Span, wanted: Span) -> bool:
    return there.from_ms <= wanted.from_ms and wanted.to_ms <= there.to_ms
