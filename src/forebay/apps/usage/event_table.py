"""Which struct goes into which table. A type of event is one struct, one table and one handler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct
from msgspec.inspect import (
    BoolType,
    FloatType,
    IntType,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from forebay.apps.usage.domain import (
    ANALYTICS_EVENT_TYPE,
    USAGE_LOG_TYPE,
    AnalyticsEvent,
    UsageLog,
)
from forebay.errors import SettingsError
from forebay.worker.packs import Pack

#: What every table of events has, before the columns that are named as the struct's fields.
EVENT_COLUMNS = ("at_ms", "record_index", "key")

#: And after them: the same for all events of a pack.
PACK_COLUMNS = ("pack_number", "node")

_COLUMN_TYPES = (StrType, IntType, FloatType, BoolType)


class EventTable:
    """The table of a type of event.

    Raises SettingsError when a field of the struct is no text, number or truth value.
    """

    def __init__(
        self, type_name: str, struct: type[Struct], table: str, *, counted_by: str | None = None
    ) -> None:
        self.type_name = type_name
        self.struct = struct
        self.table = table
        described = type_info(struct)
        assert isinstance(described, StructType)
        fields = {
            field.name: _column_type(struct, field.name, field.type) for field in described.fields
        }
        taken = set(EVENT_COLUMNS + PACK_COLUMNS) & set(fields)
        if taken:
            raise SettingsError(
                f"{struct.__name__} has a field {min(taken)!r}, which is a column of every table of"
                " events; give it another name."
            )
        if counted_by is not None and not isinstance(fields.get(counted_by), StrType):
            raise SettingsError(f"{struct.__name__} has no text {counted_by!r} to count by.")
        self.fields = tuple(fields)
        self.columns = EVENT_COLUMNS + self.fields + PACK_COLUMNS
        #: Where in a row, of EVENT_COLUMNS and fields, whole numbers are.
        self.whole_numbers = tuple(
            index
            for index, kind in enumerate(fields.values(), len(EVENT_COLUMNS))
            if isinstance(kind, IntType)
        )
        #: Where in a row its key of `current_usage` is, or None when these events are not counted.
        self.counted = (
            None if counted_by is None else len(EVENT_COLUMNS) + self.fields.index(counted_by)
        )


def _column_type(struct: type[Struct], name: str, kind: Type) -> Type:
    if isinstance(kind, UnionType):
        others = [each for each in kind.types if not isinstance(each, NoneType)]
        if len(others) == 1:
            kind = others[0]
    if not isinstance(kind, _COLUMN_TYPES):
        raise SettingsError(
            f"{struct.__name__}.{name} is no column: it must be a str, int, float or bool, or"
            " one of them or None."
        )
    return kind


#: The tables that the migrations of both stores make.
EVENT_TABLES = (
    EventTable(USAGE_LOG_TYPE, UsageLog, "usage_logs", counted_by="api_key_id"),
    EventTable(ANALYTICS_EVENT_TYPE, AnalyticsEvent, "analytics_events"),
)


class _NoEvent(Struct):
    """Stands for the struct of a type that is not known."""


class EventTables:
    """The tables of a store, by type."""

    def __init__(self, tables: Iterable[EventTable]) -> None:
        self._by_type = {each.type_name: each for each in tables}

    def __iter__(self) -> Iterator[EventTable]:
        return iter(self._by_type.values())

    def of_pack(self, pack: Pack[Any]) -> EventTable:
        """The table of a pack. One without any event that fits needs none.

        Raises SettingsError when the type has none.
        """
        if pack.type not in self._by_type and not pack.records:
            return EventTable(pack.type, _NoEvent, "")
        return self.of(pack.type)

    def of(self, type_name: str) -> EventTable:
        """Raises SettingsError when the type has none."""
        try:
            return self._by_type[type_name]
        except KeyError:
            raise SettingsError(
                f"The usage store has no table for events of the type {type_name!r}; it has one for"
                f" {', '.join(self._by_type)}. Give it an EventTable for this one."
            ) from None
