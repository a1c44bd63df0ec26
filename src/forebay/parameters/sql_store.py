"""What the stores in SQL databases have in common: all but how a transaction is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

from forebay.parameters import statements
from forebay.parameters.schema import Schema, Value
from forebay.parameters.statements import Dialect
from forebay.parameters.store import (
    HISTORY_MAX,
    Change,
    ParameterStoreError,
    StoredValue,
    wanted,
)
from forebay.sql.steps import Steps

T = TypeVar("T")


class SqlParameterStore(ABC):
    """The tables application_parameters and application_parameter_changes."""

    _dialect: ClassVar[Dialect]

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        #: Whether the tables were there once: then they are away when they are not there.
        self._seen = False

    @property
    @abstractmethod
    def name(self) -> str: ...

    async def values(self) -> dict[str, StoredValue]:
        found = await self._look(statements.values)
        if found is None and self._seen:
            raise ParameterStoreError(f"{self.name} has no parameters any more.")
        self._seen = found is not None
        return found or {}

    async def set(
        self, values: Mapping[str, Value | None], *, by: str, note: str = ""
    ) -> list[Change]:
        changes = wanted(self.schema, values, by, note)
        made = await self._run(
            lambda: statements.change(self.schema, changes, by, note, self._dialect)
        )
        self._seen = True
        return made

    async def history(
        self, name: str | None = None, *, after: int = 0, limit: int = HISTORY_MAX
    ) -> list[Change]:
        if name is not None:
            name = self.schema[name].name
        return await self._look(lambda: statements.history(name, after, limit)) or []

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _run(self, steps: Callable[[], Steps[T]]) -> T:
        """Run the steps in a transaction, in tables that are made if need be.

        Raises ParameterStoreError when the database fails.
        """

    @abstractmethod
    async def _look(self, steps: Callable[[], Steps[T]]) -> T | None:
        """Run steps that only read; None when there are no tables. Raises ParameterStoreError."""
