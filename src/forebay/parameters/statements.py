"""The steps of the SQL stores: see `forebay.sql.steps`. Times are the database's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from forebay.parameters.schema import Schema, Value
from forebay.parameters.store import Change, StoredValue, check_result
from forebay.sql.steps import Steps

_CHANGES = (
    "SELECT number, name, old_value, new_value, changed_at, changed_by, note"
    " FROM application_parameter_changes"
)


def values() -> Steps[dict[str, StoredValue]]:
    rows = yield (
        "SELECT name, value, updated_at, updated_by FROM application_parameters ORDER BY name",
        {},
    )
    return {name: StoredValue(value, _time(at), by) for name, value, at, by in rows}


def change(
    schema: Schema, changes: Mapping[str, Value | None], by: str, note: str, lock: str | None
) -> Steps[list[Change]]:
    """Make the changes. `lock` keeps others from writing until the transaction ends."""
    if lock is not None:
        yield lock, {}
    rows = yield "SELECT name, value FROM application_parameters", {}
    stored: dict[str, str] = dict(rows)  # type: ignore[arg-type]
    check_result(schema, stored, changes)
    made: list[Change] = []
    for name, value in changes.items():
        old, new = stored.get(name), None if value is None else str(value)
        if new == old:
            continue
        if new is None:
            yield "DELETE FROM application_parameters WHERE name = :name", {"name": name}
        else:
            yield (
                "INSERT INTO application_parameters (name, value, updated_by)"
                " VALUES (:name, :value, :by) ON CONFLICT (name) DO UPDATE SET"
                " value = excluded.value, updated_at = excluded.updated_at,"
                " updated_by = excluded.updated_by",
                {"name": name, "value": new, "by": by},
            )
        rows = yield (
            "INSERT INTO application_parameter_changes"
            " (name, old_value, new_value, changed_by, note)"
            " VALUES (:name, :old, :new, :by, :note)"
            " RETURNING number, name, old_value, new_value, changed_at, changed_by, note",
            {"name": name, "old": old, "new": new, "by": by, "note": note},
        )
        made += [_change(*row) for row in rows]
    return made


def history(name: str | None, after: int, limit: int) -> Steps[list[Change]]:
    rows = yield (
        f"{_CHANGES} WHERE number > :after AND (CAST(:name AS text) IS NULL OR name = :name)"
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
