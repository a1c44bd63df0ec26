"""Parameters in a PostgreSQL database, shared by any number of machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DeadlockDetected, SerializationFailure, UndefinedTable

from forebay.errors import SettingsError
from forebay.parameters.schema import Schema
from forebay.parameters.sql_store import SqlParameterStore
from forebay.parameters.statements import Dialect
from forebay.parameters.store import ParameterStoreError, ParameterStoreTooNew
from forebay.sql.on_postgres import in_one_line, migrate, run_steps
from forebay.sql.steps import Steps

T = TypeVar("T")

#: How long a call may take, connecting included, in seconds.
ANSWER_S = 10.0

#: Most tries of a transaction that PostgreSQL gives up because of another one.
_TRIES_MAX = 5


class PostgresParameterStore(SqlParameterStore):
    """A ParameterStore in a PostgreSQL database.

    It connects at its first call, and holds one connection from then on. The tables are in the
    first schema of the `search_path`. Reading needs the right to SELECT alone.
    """

    #: The lock also keeps off those who write with SQL: what is checked is what will be there.
    _dialect: ClassVar[Dialect] = Dialect(
        lock="LOCK TABLE application_parameters IN SHARE ROW EXCLUSIVE MODE",
        sign="SELECT set_config('forebay.changed_by', :by, true),"
        " set_config('forebay.note', :note, true)",
        unsign=None,
    )

    def __init__(self, conninfo: str, schema: Schema) -> None:
        """Raises SettingsError, which does not repeat the conninfo: it may hold a password."""
        super().__init__(schema)
        parts = _parts(conninfo)
        self._conninfo = conninfo
        self._password = str(parts.get("password") or "")
        self._name = _without_password(parts)
        self._connection: AsyncConnection[Any] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._has_tables = False

    @property
    def name(self) -> str:
        return self._name

    async def close(self) -> None:
        async with self._one_at_a_time:
            await self._disconnect()

    async def _run(self, steps: Callable[[], Steps[T]]) -> T:
        async with self._connected() as connection:
            if not self._has_tables:
                await migrate(
                    connection,
                    "forebay.parameters.postgres",
                    "application_parameter_schema",
                    ParameterStoreTooNew,
                )
                self._has_tables = True
            tries = 0
            while True:
                tries += 1
                try:
                    async with connection.transaction():
                        return await run_steps(connection, steps())
                except (DeadlockDetected, SerializationFailure):
                    if tries == _TRIES_MAX:
                        raise

    async def _look(self, steps: Callable[[], Steps[T]]) -> T | None:
        async with self._connected() as connection:
            try:
                return await run_steps(connection, steps())
            except UndefinedTable:
                return None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection[Any]]:
        """The connection, for one call at a time; what fails is told without the password."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(ANSWER_S):
                    yield await self._alive()
            except TimeoutError as error:
                await self._disconnect()
                raise ParameterStoreError(
                    f"{self.name} did not answer within {ANSWER_S:g} s."
                ) from error
            except psycopg.Error as error:
                # The cause is left out: its text may hold the password.
                raise ParameterStoreError(
                    f"{self.name} could not be used: {self._hidden(in_one_line(error))}. Check that"
                    " PostgreSQL runs, and that the URL and the user's rights are right."
                ) from None
            except asyncio.CancelledError:
                await self._disconnect()
                raise

    async def _alive(self) -> AsyncConnection[Any]:
        """The connection at hand, or a new one where that has died since."""
        if self._connection is not None:
            try:
                await self._connection.execute("SELECT 1")
            except psycopg.Error:
                await self._disconnect()
            else:
                return self._connection
        self._connection = await AsyncConnection.connect(
            self._conninfo, autocommit=True, fallback_application_name="forebay parameters"
        )
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def _hidden(self, text: str) -> str:
        return text.replace(self._password, "***") if self._password else text


def _parts(conninfo: str) -> dict[str, Any]:
    """What a conninfo says. Raises SettingsError."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.Error:
        parts = {"host": "@"}
    ports = str(parts.get("port") or "5432").split(",")
    # An unescaped @ or / of a password is taken for the end of the host's name, and libpq would
    # repeat what follows.
    if any("@" in str(parts.get(name) or "") for name in ("host", "dbname")) or not all(
        port.isdecimal() for port in ports
    ):
        raise SettingsError(
            "The URL of the store of parameters cannot be read. It must look like"
            " postgresql://app@db:5432/shop; write a @ or a / of a password as %40 or %2F."
        )
    return parts


def _without_password(parts: dict[str, Any]) -> str:
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"
