"""What the outside service has done: an SQLite file of its own, one row for each effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec
from msgspec import Struct

from forebay.sqlite import SharedWriter, open_database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (
    number INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    key TEXT UNIQUE,
    body BLOB NOT NULL,
    caller TEXT NOT NULL
) STRICT;
"""

_INSERT = "INSERT INTO effects VALUES (NULL, ?, ?, ?, ?, ?, ?) RETURNING *"


class PerformedEffect(Struct, frozen=True, kw_only=True):
    """One effect that happened."""

    #: Counts the effects, from 1.
    number: int
    #: When it happened, in milliseconds since the Unix epoch by the service's clock.
    at_ms: int
    #: What was done, such as "charge", and to whom or what.
    action: str
    subject: str
    #: The Idempotency-Key; None where the caller gave none.
    key: str | None
    #: The JSON object that the caller sent.
    body: msgspec.Raw
    #: Who asked for it, as it calls itself.
    caller: str


class EffectLedger:
    """The ledger of a running service. What a call has written is on the disk when it returns."""

    def __init__(self, writer: SharedWriter) -> None:
        self._writer = writer

    @classmethod
    async def open(cls, path: Path | str) -> EffectLedger:
        """Open or create the file. Raises StoreError when it cannot be opened."""
        return cls(await SharedWriter.open(path, _SCHEMA))

    async def add(
        self, action: str, subject: str, *, at_ms: int, key: str | None, body: bytes, caller: str
    ) -> PerformedEffect:
        """Write down an effect. At most one of each key, which the caller has looked for before."""

        def insert(connection: apsw.Connection) -> PerformedEffect:
            values = (at_ms, action, subject, key, body, caller)
            return _effect(connection.execute(_INSERT, values).fetchall()[0])

        return await self._writer.run(insert)

    async def find(self, key: str) -> PerformedEffect | None:
        """The effect that was done for a key."""

        def select(connection: apsw.Connection) -> PerformedEffect | None:
            row = connection.execute("SELECT * FROM effects WHERE key = ?", (key,)).fetchone()
            return None if row is None else _effect(row)

        return await self._writer.read(select)

    async def effects(self) -> list[PerformedEffect]:
        """All effects, in the order in which they happened."""
        return await self._writer.read(_select_all)

    async def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        await self._writer.close()


def read_effects(path: Path | str) -> list[PerformedEffect]:
    """All effects in the file of a service, whether it runs or was killed.

    Raises StoreError when the file cannot be read.
    """
    connection = open_database(path, _SCHEMA)
    try:
        return _select_all(connection)
    finally:
        connection.close()


def _select_all(connection: apsw.Connection) -> list[PerformedEffect]:
    return [_effect(row) for row in connection.execute("SELECT * FROM effects ORDER BY number")]


def _effect(row: tuple[Any, ...]) -> PerformedEffect:
    number, at_ms, action, subject, key, body, caller = row
    return PerformedEffect(
        number=number,
        at_ms=at_ms,
        action=action,
        subject=subject,
        key=key,
        body=msgspec.Raw(body),
        caller=caller,
    )
