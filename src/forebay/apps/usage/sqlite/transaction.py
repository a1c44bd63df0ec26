"""Writes packs inside a transaction on SQLite: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import apsw
from msgspec.structs import astuple

from forebay.apps.usage.admission import Admitted, Reject, UsageByKey, add_usage, kinds_of
from forebay.apps.usage.event_table import EventTable
from forebay.apps.usage.retention import day_name
from forebay.apps.usage.store import Written

_NEW_PACK = (
    "INSERT INTO usage_packs (id, type, node, events, rejects, written_ms)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING RETURNING number"
)

_NEW_EVENT = (
    "INSERT INTO usage_seen (at_ms, id) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING at_ms"
)

_REJECT = (
    "INSERT INTO usage_rejects"
    " (rejected_ms, message_id, record_index, type, node, at_ms, reason, json)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

_COUNT = (
    "INSERT INTO current_usage AS u (api_key_id, day, events, last_ms) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (api_key_id, day) DO UPDATE SET events = u.events + excluded.events,"
    " last_ms = max(u.last_ms, excluded.last_ms)"
)


def write_packs(connection: apsw.Connection, admitted: Sequence[Admitted], now_ms: int) -> Written:
    """Write those that are new."""
    rows = packs = 0
    rejects: list[Reject] = []
    usage: UsageByKey = {}
    for pack in admitted:
        number = None
        if pack.sealed:
            found = connection.execute(
                _NEW_PACK,
                (
                    *(pack.id, pack.table.type_name, pack.node),
                    *(pack.row_count, len(pack.rejects), now_ms),
                ),
            ).get
            number = found
        else:
            found = connection.execute(_NEW_EVENT, (pack.first_ms, pack.id)).get
        if found is None:
            continue
        connection.executemany(
            _insert(pack.table), ((*row, number, pack.node) for row in pack.rows())
        )
        connection.executemany(_REJECT, _rejects(pack.rejects, now_ms))
        add_usage(usage, pack.usage)
        packs += 1
        rows += pack.row_count
        rejects += pack.rejects
    connection.executemany(
        _COUNT,
        ((key, day_name(day), used.events, used.last_ms) for (key, day), used in usage.items()),
    )
    return Written(rows, len(rejects), packs, len(admitted) - packs, kinds_of(rejects))


@lru_cache(maxsize=64)
def _insert(table: EventTable) -> str:
    values = ", ".join("?" * len(table.columns))
    return f"INSERT INTO {table.table} ({', '.join(table.columns)}) VALUES ({values})"  # noqa: S608


def _rejects(rejects: Iterable[Reject], now_ms: int) -> Iterable[tuple[object, ...]]:
    return ((now_ms, *astuple(each)) for each in rejects)
