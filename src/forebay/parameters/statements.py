"""The steps of the SQL stores: see `forebay.sql.steps`. Times are the database's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from forebay.parameters.schema import Schema, Value
from forebay.parameters.store import Change, StoredValue, check_result
from forebay.sql.steps import Steps


class Dialect(NamedTuple):
    """What differs between the databases."""

    #: Keeps others from writing until the transaction ends, if they are not kept anyway.
    lock: str | None
    #: Says who changes something until the transaction ends, or until it is taken back.
    sign: str
    unsign: str | None


def values() -> Steps[dict[str, StoredValue]]:
    rows = yield (
        "SELECT name, value, updated_at, updated_by FROM application_parameters ORDER BY name",
        {},
    )
    return {name: StoredValue(value, _time(at), by) for name, value, at, by in rows}


def change(
    schema: Schema, changes: Mapping[str, Value | None], by: str, note: str, dialect: Dialect
) -> Steps[list[Change]]:
    """Make the changes. Triggers write the history, also of whoever writes with SQL."""
    if dialect.lock is not None:
        yield dialect.lock, {}
    rows = yield "SELECT name, value FROM application_parameters", {}
    stored: dict[str, str] = {name: value for name, value in rows}  # noqa: C416 - rows are no pairs to mypy
    check_result(schema, stored, changes)
    rows = yield "SELECT coalesce(max(number), 0) FROM application_parameter_changes", {}
    [[latest]] = rows
    yield dialect.sign, {"by": by, "note": note}
    for name, value in changes.items():
        if value is None:
            yield "DELETE FROM application_parameters WHERE name = :name", {"name": name}
        elif stored.get(name) != str(value):
            yield (
                "INSERT INTO application_parameters (name, value, updated_by)"
                " VALUES (:name, :value, :by)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                {"name": name, "value": str(value), "by": by},
            )
    if dialect.unsign is not None:
        yield dialect.unsign, {}
    return (yield from history(None, latest, len(changes)))


def history(name: str | None, after: int, limit: int) -> Steps[list[Change]]:
    rows = yield (
        "SELECT number, name, old_value, new_value, changed_at, changed_by, note"
        " FROM application_parameter_changes"
        " WHERE number > :after AND (CAST(:name AS text) IS NULL OR name = :name)"
        " ORDER BY number DESC LIMIT :limit",
        {"after": after, "name": name, "limit": limit},
    )
    return [_change(*row) for row in reversed(rows)]


def _change(
    number: int,
    name: str,
    old: str | None,
    new: str | None,
    at: datetime | str,
    by: str,
    note: str,
) -> Change:
    return Change(number, name, old, new, _time(at), by, note)


def _time(at: datetime | str) -> str:
    if isinstance(at, str):
        return at
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
