"""What every store of parameters promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from forebay.errors import SettingsError, StoreError
from forebay.parameters.schema import Schema, Value

#: Longest name of whoever changes a parameter, and longest note, in characters.
BY_MAX = 200
NOTE_MAX = 1_000

#: How many changes a history has at most unless more are asked for.
HISTORY_MAX = 100


class ParameterStoreError(StoreError):
    """The store of parameters could not be read or written."""


class ParameterStoreTooNew(ParameterStoreError):
    """The tables of parameters are from a newer Forebay. Upgrade, or use another store."""


class StoredValue(Struct, frozen=True):
    """A row of the table as it stands there; with SQL anything may have been written."""

    value: str
    #: In ISO 8601, UTC.
    updated_at: str
    updated_by: str


class Change(Struct, frozen=True):
    """One change that was made."""

    #: Rises with every change of the store.
    number: int
    name: str
    #: None when it was not set.
    old: str | None
    #: None when it was reset: programs have their own value again.
    new: str | None
    #: In ISO 8601, UTC.
    at: str
    by: str
    note: str


class ParameterStore(Protocol):
    """Keeps the values that were set, and every change of them.

    Opening a store touches nothing; its first write makes the tables.
    """

    schema: Schema

    @property
    def name(self) -> str:
        """Where it is, without a password."""
        ...

    async def values(self) -> dict[str, StoredValue]:
        """What is set, by name; nothing when nobody has set anything yet.

        Raises ParameterStoreError.
        """
        ...

    async def set(
        self, values: Mapping[str, Value | None], *, by: str, note: str = ""
    ) -> list[Change]:
        """Set parameters, all of them or none, and return what that changed.

        None resets one. Raises UnknownParameter and BadValue, and then nothing has changed, and
        ParameterStoreError. Several who set at the same time come one after the other.
        """
        ...

    async def history(
        self, name: str | None = None, *, after: int = 0, limit: int = HISTORY_MAX
    ) -> list[Change]:
        """The latest changes, of one parameter or of all, the newest last.

        `after` leaves out those up to a number. Raises UnknownParameter and ParameterStoreError.
        """
        ...

    async def close(self) -> None:
        """Let go of the store. It may be used again."""
        ...


def wanted(
    schema: Schema, values: Mapping[str, Value | None], by: str, note: str
) -> dict[str, Value | None]:
    """What is to be set, each value checked by itself.

    Raises UnknownParameter and BadValue, and SettingsError for who does it and the note.
    """
    for what, text, most in (("by", by, BY_MAX), ("note", note, NOTE_MAX)):
        if len(text) > most or not text.isprintable():
            raise SettingsError(f"{what} must be one line of text, of at most {most:,} characters.")
    if not by.strip():
        raise SettingsError("by is empty; say who changes the parameter.")
    given = {name: value for name, value in values.items() if value is not None}
    read: dict[str, Value | None] = {**schema.read(given)}
    for name in values.keys() - given.keys():
        read[schema[name].name] = None
    return read


def check_result(
    schema: Schema, stored: Mapping[str, str], changes: Mapping[str, Value | None]
) -> None:
    """Raise BadValue when the changes break a rule with what is stored and right."""
    result, _ = schema.accept(stored, {})
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    schema.check_together(result, changes)
