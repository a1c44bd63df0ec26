"""Parameters in an SQLite file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import ClassVar, TypeVar

import apsw

from forebay.errors import StoreError
from forebay.parameters.schema import Schema
from forebay.parameters.sql_store import SqlParameterStore
from forebay.parameters.statements import Dialect
from forebay.parameters.store import ParameterStoreError, ParameterStoreTooNew
from forebay.sql.numbered import numbered_sql
from forebay.sql.on_sqlite import run_steps
from forebay.sql.steps import Steps
from forebay.sqlite import open_database, store_error, transaction

T = TypeVar("T")

_VERSIONS = (
    "CREATE TABLE IF NOT EXISTS application_parameter_schema (version INTEGER PRIMARY KEY) STRICT"
)


class SqliteParameterStore(SqlParameterStore):
    """A ParameterStore in a file, which the first write makes.

    The file is opened for each call and closed again: they are seconds apart, and another file may
    have come into its place.
    """

    _dialect: ClassVar[Dialect] = Dialect(
        lock=None,
        sign="INSERT INTO application_parameter_author VALUES (:by, :note)",
        unsign="DELETE FROM application_parameter_author",
    )

    def __init__(self, path: Path, schema: Schema) -> None:
        super().__init__(schema)
        self._path = path

    @property
    def name(self) -> str:
        return str(self._path)

    async def close(self) -> None:
        """Nothing is held on to."""

    async def _run(self, steps: Callable[[], Steps[T]]) -> T:
        return await asyncio.to_thread(self._write, steps)

    async def _look(self, steps: Callable[[], Steps[T]]) -> T | None:
        return await asyncio.to_thread(self._read, steps)

    def _write(self, steps: Callable[[], Steps[T]]) -> T:
        try:
            with closing(open_database(self._path)) as connection, transaction(connection):
                _make_tables(connection)
                return run_steps(connection, steps())
        except ParameterStoreError:
            raise
        except StoreError as error:
            raise ParameterStoreError(f"{error}") from error

    def _read(self, steps: Callable[[], Steps[T]]) -> T | None:
        if not os.path.exists(self._path):  # noqa: PTH110 - a path that may not be looked at is none
            return None
        try:
            with closing(open_database(self._path)) as connection:
                return self._read_tables(connection, steps)
        except StoreError as error:
            raise ParameterStoreError(f"{error}") from error

    def _read_tables(self, connection: apsw.Connection, steps: Callable[[], Steps[T]]) -> T | None:
        try:
            if not connection.table_exists(None, "application_parameters"):
                return None
            return run_steps(connection, steps())
        except apsw.Error as error:
            raise store_error(connection, error) from error


def _make_tables(connection: apsw.Connection) -> None:
    """Make the tables, or bring them to today's form. Raises ParameterStoreTooNew."""
    files = numbered_sql("forebay.parameters.sqlite")
    connection.execute(_VERSIONS)
    found = connection.execute("SELECT max(version) FROM application_parameter_schema").get or 0
    if found > files[-1][0]:
        raise ParameterStoreTooNew
    for number, text in files:
        if number > found:
            connection.execute(text)
            connection.execute("INSERT INTO application_parameter_schema VALUES (?)", (number,))
