"""The one transaction in which packs are written to PostgreSQL.

Locks are taken in one order by all writers, so that none waits for another that waits for it: ids
of packs, ids of events, keys of counters, each of them sorted. Of two that write the same pack the
second waits for the first, and finds the id or, when the first failed, writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from msgspec.json import Encoder
from msgspec.structs import astuple
from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed, Identifier

from forebay.apps.usage.admission import Admitted, UsageByKey, add_usage, kinds_of
from forebay.apps.usage.event_table import EventTable
from forebay.apps.usage.retention import day_name
from forebay.apps.usage.store import Written

_NEW_PACKS = (
    "INSERT INTO usage_packs (id, type, node, events, rejects, written_ms)"
    " SELECT *, %s FROM unnest(%s::text[], %s::text[], %s::text[], %s::integer[], %s::integer[])"
    " ON CONFLICT (id) DO NOTHING RETURNING id, number"
)

_NEW_EVENTS = (
    "INSERT INTO usage_seen (at_ms, id) SELECT * FROM unnest(%s::bigint[], %s::text[])"
    " ON CONFLICT DO NOTHING RETURNING id"
)

_REJECTS = (
    "COPY usage_rejects (rejected_ms, message_id, record_index, type, node, at_ms, reason, json)"
    " FROM STDIN"
)

_COUNT = (
    "INSERT INTO current_usage AS u (api_key_id, day, events, last_ms)"
    " SELECT * FROM unnest(%s::text[], %s::text[]::date[], %s::bigint[], %s::bigint[])"
    " ON CONFLICT (api_key_id, day) DO UPDATE SET events = u.events + excluded.events,"
    " last_ms = greatest(u.last_ms, excluded.last_ms)"
)

_encode = Encoder().encode


def write_packs(connection: Connection[Any], admitted: Sequence[Admitted], now_ms: int) -> Written:
    """Write those that are new. Each id is among them once."""
    if not admitted:
        return Written()
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        numbers: dict[str, int | None] = {}
        sealed = sorted((each for each in admitted if each.sealed), key=lambda each: each.id)
        if sealed:
            cursor.execute(
                _NEW_PACKS,
                (
                    now_ms,
                    [each.id for each in sealed],
                    [each.table.type_name for each in sealed],
                    [each.node for each in sealed],
                    [each.row_count for each in sealed],
                    [len(each.rejects) for each in sealed],
                ),
            )
            numbers.update(cursor.fetchall())
        events = sorted((each.first_ms or 0, each.id) for each in admitted if not each.sealed)
        if events:
            cursor.execute(
                _NEW_EVENTS,
                ([at_ms for at_ms, _ in events], [identifier for _, identifier in events]),
            )
            numbers.update((identifier, None) for (identifier,) in cursor)
        new = [each for each in admitted if each.id in numbers]
        by_table: dict[EventTable, list[Admitted]] = {}
        usage: UsageByKey = {}
        for pack in new:
            if pack.row_count:
                by_table.setdefault(pack.table, []).append(pack)
            add_usage(usage, pack.usage)
        for table, packs in by_table.items():
            with cursor.copy(_copy(table)) as copy:
                for pack in packs:
                    copy.write(csv_rows(pack, numbers[pack.id]))
        rejects = [reject for pack in new for reject in pack.rejects]
        if rejects:
            with cursor.copy(_REJECTS) as copy:
                for reject in rejects:
                    copy.write_row((now_ms, *astuple(reject)))
        if usage:
            cursor.execute(_COUNT, _counters(usage))
        return Written(
            rows=sum(each.row_count for each in new),
            rejects=len(rejects),
            packs=len(new),
            repeated=len(admitted) - len(new),
            reasons=kinds_of(rejects),
        )


def _counters(usage: UsageByKey) -> tuple[list[Any], ...]:
    ordered = sorted(usage.items())
    return (
        [key for (key, _), _ in ordered],
        [day_name(day) for (_, day), _ in ordered],
        [used.events for _, used in ordered],
        [used.last_ms for _, used in ordered],
    )


def csv_rows(pack: Admitted, number: int | None) -> bytes:
    """The rows of a pack as COPY takes them, with the columns that are the same in all of them.

    A line of JSON without a backslash is one of CSV once its brackets are gone: texts are in quotes
    in both, and `null` is not. A line break cannot be inside of a JSON text.
    """
    if b"\\" in pack.lines:
        return b"".join(_quoted((*row, number, pack.node)) for row in pack.rows())
    end = b"," + _quoted((number, pack.node))
    return end.join([*pack.lines[1:-2].split(b"]\n["), b""])


def _quoted(values: Iterable[object]) -> bytes:
    """A line of CSV."""
    return b",".join(map(_field, values)) + b"\n"


def _field(value: object) -> bytes:
    if isinstance(value, str):
        return b'"' + value.encode().replace(b'"', b'""') + b'"'
    return _encode(value)


@lru_cache(maxsize=64)
def _copy(table: EventTable) -> Composed:
    return SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv, NULL 'null')").format(
        Identifier(table.table), SQL(", ").join(map(Identifier, table.columns))
    )
