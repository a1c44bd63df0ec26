"""What of a pack a store can write, and what it cannot and why. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.json import Decoder, Encoder
from msgspec.structs import astuple

from forebay.apps.usage.event_table import EventTable
from forebay.apps.usage.retention import DAY_MS, Span, day_of
from forebay.sql.texts import NAME_MAX, stored_name, stored_text
from forebay.worker.packs import BadRecord, Pack, Record

#: What a whole number may be in both databases.
_WHOLE_MIN, _WHOLE_MAX = -(2**63), 2**63 - 1


#: What the reason of a reject may begin with, up to a colon. The others say what does not fit.
REASONS = ("too old", "in the future", "unknown type", "refused")
_UNFIT = "does not fit"


class Reject(Struct, frozen=True):
    """An event that cannot be written, as `usage_rejects` holds it."""

    message_id: str
    record_index: int
    type: str
    node: str
    at_ms: int | None
    reason: str
    json: str


#: A row of EVENT_COLUMNS and the struct's fields.
Row: TypeAlias = tuple[Any, ...]

_encode_lines = Encoder().encode_lines
_encode = Encoder().encode
_decode_lines = Decoder(tuple[Any, ...]).decode_lines
_at_ms = itemgetter(0)


class Usage(Struct):
    """What a key used on a day."""

    events: int
    last_ms: int


#: By key and day.
UsageByKey = dict[tuple[str, int], Usage]


class Admitted(Struct, frozen=True):
    """A pack that was looked through."""

    #: The pack's id as it is stored.
    id: str
    table: EventTable
    node: str
    #: False when the id is kept as that of one event.
    sealed: bool
    #: How many rows there are, and when the first one was made if there is one.
    row_count: int
    first_ms: int | None
    #: The rows as JSON, an array in each line. Half a million tuples would keep the collector of
    #: cycles busy.
    lines: bytes
    rejects: list[Reject]
    usage: UsageByKey
    #: The days of the rows.
    days: frozenset[int]

    def rows(self) -> list[Row]:
        """The rows, each of EVENT_COLUMNS and the struct's fields."""
        return _decode_lines(self.lines)


def admit(pack: Pack[Any], table: EventTable, taken_in: Span) -> Admitted:
    """Look a pack through: all rows at once, and one by one only when something is wrong.

    The pack's records are not kept, so that of many packs one at a time has them.
    """
    records, bad = pack.read()
    rows = _rows(records)
    keys = _keys(rows, table)
    lines = None
    if not _out_of_range(rows, keys, table, taken_in):
        lines = _encode_lines(rows)
    if lines is None or b"\\u0000" in lines:
        good = []
        for record in records:
            reason = _reason(record, table, taken_in)
            if reason is None:
                good.append(record)
            else:
                bad.append(BadRecord(record.index, record.at_ms, _json(record), reason))
        rows = _rows(good)
        keys = _keys(rows, table)
        lines = _encode_lines(rows)
    identifier, node = stored_name(pack.id), stored_text(pack.node)
    return Admitted(
        id=identifier,
        table=table,
        node=node,
        # The id of an envelope that has a reject is kept as a pack's: no row can keep it.
        sealed=pack.sealed or bool(bad) or len(rows) != 1,
        row_count=len(rows),
        first_ms=rows[0][0] if rows else None,
        lines=lines,
        rejects=[_reject(each, identifier, table, node) for each in bad],
        usage=_usage(rows, keys),
        days=_days(rows),
    )


def kinds_of(rejects: Iterable[Reject]) -> dict[str, int]:
    """How many there are for each kind of reason: what does not differ from event to event."""
    kinds = (reject.reason.partition(":")[0] for reject in rejects)
    return dict(Counter(kind if kind in REASONS else _UNFIT for kind in kinds))


def _rows(records: Sequence[Record[Any]]) -> list[Row]:
    return [
        (record.at_ms, record.index, record.key, *astuple(record.payload)) for record in records
    ]


def _keys(rows: Sequence[Row], table: EventTable) -> list[str]:
    return [] if table.counted is None else list(map(itemgetter(table.counted), rows))


def _out_of_range(
    rows: Sequence[Row], keys: Sequence[str], table: EventTable, taken_in: Span
) -> bool:
    if not rows:
        return False
    times = list(map(_at_ms, rows))
    if min(times) < taken_in.from_ms or max(times) >= taken_in.to_ms:
        return True
    for index in table.whole_numbers:
        numbers = [row[index] for row in rows if row[index] is not None]
        if numbers and (min(numbers) < _WHOLE_MIN or max(numbers) > _WHOLE_MAX):
            return True
    return max(map(len, keys), default=0) > NAME_MAX


def _reason(record: Record[Any], table: EventTable, taken_in: Span) -> str | None:
    """Why the databases cannot take a record, or None."""
    if record.at_ms < taken_in.from_ms:
        return (
            f"too old: at_ms is {record.at_ms}, and events from {taken_in.from_ms} on were taken in"
        )
    if record.at_ms >= taken_in.to_ms:
        return (
            f"in the future: at_ms is {record.at_ms}, and events before {taken_in.to_ms} were"
            " taken in"
        )
    row = (record.at_ms, record.index, record.key, *astuple(record.payload))
    for name, value in zip(("key", *table.fields), row[2:], strict=True):
        if isinstance(value, str) and "\0" in value:
            return f"{name} holds the character U+0000, which PostgreSQL cannot keep"
        if isinstance(value, int) and not _WHOLE_MIN <= value <= _WHOLE_MAX:
            return f"{name} is {value}, beyond 64 bits"
    if table.counted is not None and len(row[table.counted]) > NAME_MAX:
        name = table.columns[table.counted]
        return f"{name} has {len(row[table.counted])} characters; at most {NAME_MAX} are counted"
    return None


def _json(record: Record[Any]) -> bytes:
    """A record as a pack holds it."""
    if record.key is None:
        return _encode((record.at_ms, record.payload))
    return _encode((record.at_ms, record.payload, record.key))


def _reject(bad: BadRecord, identifier: str, table: EventTable, node: str) -> Reject:
    at_ms = bad.at_ms
    return Reject(
        message_id=identifier,
        record_index=bad.index,
        type=table.type_name,
        node=node,
        at_ms=None if at_ms is None or not _WHOLE_MIN <= at_ms <= _WHOLE_MAX else at_ms,
        reason=stored_text(bad.reason),
        json=stored_text(bad.json.decode(errors="replace")),
    )


def _days(rows: Sequence[Row]) -> frozenset[int]:
    if not rows:
        return frozenset()
    times = list(map(_at_ms, rows))
    first, last = day_of(min(times)), day_of(max(times))
    if first == last:
        return frozenset((first,))
    return frozenset(map(day_of, times))


def _usage(rows: Sequence[Row], keys: Sequence[str]) -> UsageByKey:
    if not keys:
        return {}
    times = list(map(_at_ms, rows))
    ordered = sorted(times)
    day = day_of(ordered[0])
    if day_of(ordered[-1]) != day:
        parts: dict[int, tuple[list[Row], list[str]]] = {}
        for row, key in zip(rows, keys, strict=True):
            of_day = parts.setdefault(row[0] // DAY_MS, ([], []))
            of_day[0].append(row)
            of_day[1].append(key)
        usage: UsageByKey = {}
        for of_one_day in parts.values():
            usage.update(_usage(*of_one_day))
        return usage
    # The last of equal keys stays in a dict: with the times in order that is the latest.
    pairs = zip(keys, times, strict=True) if ordered == times else _by_time(keys, times)
    last = dict(pairs)
    return {(key, day): Usage(count, last[key]) for key, count in Counter(keys).items()}


def _by_time(keys: Sequence[str], times: Sequence[int]) -> list[tuple[str, int]]:
    return sorted(zip(keys, times, strict=True), key=itemgetter(1))


def add_usage(total: UsageByKey, usage: UsageByKey) -> None:
    """Add what a pack counted to the total."""
    for of, used in usage.items():
        found = total.get(of)
        if found is None:
            total[of] = Usage(used.events, used.last_ms)
        else:
            found.events += used.events
            found.last_ms = max(found.last_ms, used.last_ms)
