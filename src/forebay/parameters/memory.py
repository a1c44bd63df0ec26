"""Parameters in memory, for tests and for programs that set their own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from forebay.clock import Clock, SystemClock
from forebay.parameters.schema import Schema, Value
from forebay.parameters.store import HISTORY_MAX, Change, StoredValue, check_result, wanted


class MemoryParameterStore:
    """A ParameterStore of one process."""

    name = "memory"

    def __init__(self, schema: Schema, *, clock: Clock | None = None) -> None:
        self.schema = schema
        self._clock = clock or SystemClock()
        #: What is set; a test may write here what SQL could write into a table.
        self.rows: dict[str, StoredValue] = {}
        self._changes: list[Change] = []

    async def values(self) -> dict[str, StoredValue]:
        return dict(sorted(self.rows.items()))

    async def set(
        self, values: Mapping[str, Value | None], *, by: str, note: str = ""
    ) -> list[Change]:
        changes = wanted(self.schema, values, by, note)
        check_result(self.schema, {name: row.value for name, row in self.rows.items()}, changes)
        now = datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC)
        at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = []
        for name, value in changes.items():
            old = self.rows[name].value if name in self.rows else None
            new = None if value is None else str(value)
            if new == old:
                continue
            if new is None:
                del self.rows[name]
            else:
                self.rows[name] = StoredValue(new, at, by)
            made.append(Change(len(self._changes) + 1, name, old, new, at, by, note))
            self._changes.append(made[-1])
        return made

    async def history(
        self, name: str | None = None, *, after: int = 0, limit: int = HISTORY_MAX
    ) -> list[Change]:
        if name is not None:
            name = self.schema[name].name
        found = [
            change
            for change in self._changes
            if change.number > after and (name is None or change.name == name)
        ]
        return found[-limit:] if limit else []

    async def close(self) -> None:
        pass
