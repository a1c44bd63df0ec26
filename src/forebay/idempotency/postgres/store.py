"""An idempotency store in PostgreSQL, shared by any number of machines.

It uses psycopg 3 because that has the same connections for coroutines and for threads: an effect
in the application's own transaction can be either.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import ClassVar, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from forebay.backoff import backoff_s, jitter
from forebay.clock import Clock
from forebay.errors import SettingsError
from forebay.idempotency.base import IdempotencyStoreError
from forebay.idempotency.postgres.migrate import migrate
from forebay.idempotency.sql_store import SqlIdempotencyStore
from forebay.idempotency.statements import Tokens, Undone
from forebay.scaled_clock import ScaledClock
from forebay.sql.on_postgres import in_one_line, run_steps
from forebay.sql.steps import Steps

T = TypeVar("T")

#: How long a call waits for a free connection, in seconds. Opening the store waits as long.
CONNECTION_WAIT_S = 10.0

#: Most tries of a transaction that PostgreSQL gives up because of another one.
_TRIES_MAX = 6

#: Bounds of the pause before such a transaction is tried again, in seconds.
_RETRY_BASE_S, _RETRY_MAX_S = 0.01, 0.5


class PostgresIdempotencyStore(SqlIdempotencyStore):
    """A store in a PostgreSQL database.

    Every call is one transaction on a connection of the pool. One that PostgreSQL gives up because
    of another (serialization failure 40001, deadlock 40P01) is tried again.

    Tokens come from a sequence: over purged records they rise as long as the retention of the purge
    is longer than one call of `begin` takes.
    """

    _tokens: ClassVar[Tokens] = Tokens(advance=None, value="nextval('idempotency_token')")

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        """Use a pool of the application's, which stays open when the store is closed.

        `migrate` has made the tables. Raises SettingsError for anything else, such as a conninfo,
        which may hold a password and is not repeated.
        """
        if not hasattr(pool, "connection"):
            raise SettingsError(
                f"PostgresIdempotencyStore was given a {type(pool).__name__} and no pool. To"
                " connect: await PostgresIdempotencyStore.open(conninfo)."
            )
        self._pool = pool
        self._owns_pool = False

    @classmethod
    async def open(
        cls, conninfo: str, *, connections_max: int = 8, make_tables: bool = True
    ) -> PostgresIdempotencyStore:
        """Connect, and make the tables or bring them to today's form.

        The tables are in the first schema of the connections' search_path. Without `make_tables`
        they are expected there. Raises IdempotencyStoreError when that cannot be done.
        """
        try:
            conninfo_to_dict(conninfo)
        except psycopg.Error:
            # Its own error repeats the text, which may hold a password.
            raise IdempotencyStoreError(
                "The conninfo of the idempotency store cannot be read. It must look like"
                " 'host=db dbname=shop user=app' or postgresql://app@db/shop."
            ) from None
        pool = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=connections_max,
            timeout=CONNECTION_WAIT_S,
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=CONNECTION_WAIT_S)
            if make_tables:
                async with pool.connection() as connection:
                    await migrate(connection)
        except BaseException as error:
            await pool.close()
            if isinstance(error, psycopg.Error):
                if isinstance(error, PoolTimeout):
                    error = await _why_not(conninfo) or error
                raise IdempotencyStoreError(
                    f"The idempotency store could not be opened: {in_one_line(error)}. Check that"
                    " PostgreSQL runs, and that the conninfo and the user's rights are right."
                ) from error
            raise
        store = cls(pool)
        store._owns_pool = True
        return store

    async def time_ms(self, clock: Clock) -> int:
        server_ms = await self._run(_server_time)
        return clock.time_of(server_ms) if isinstance(clock, ScaledClock) else server_ms

    async def close(self) -> None:
        if self._owns_pool:
            await self._pool.close()

    async def _run(self, steps: Callable[[], Steps[T]]) -> T:
        attempt = passed_over = 0
        while True:
            begun = False
            try:
                async with self._pool.connection() as connection, connection.transaction():
                    begun = True
                    return await run_steps(connection, steps())
            except Undone as undone:
                answer: T = undone.answer
                return answer
            except (SerializationFailure, DeadlockDetected) as error:
                attempt += 1
                if attempt == _TRIES_MAX:
                    raise self._unusable(error) from error
                await asyncio.sleep(
                    backoff_s(attempt, jitter(os.urandom), base_s=_RETRY_BASE_S, max_s=_RETRY_MAX_S)
                )
            except psycopg.OperationalError as error:
                # One that was closed while it lay in the pool was asked for nothing yet.
                passed_over += 1
                if begun or isinstance(error, PoolTimeout) or passed_over > self._pool.max_size:
                    raise self._unusable(error) from error
            except psycopg.Error as error:
                raise self._unusable(error) from error

    def _unusable(self, error: psycopg.Error) -> IdempotencyStoreError:
        return IdempotencyStoreError(
            f"The idempotency store in PostgreSQL could not be used: {in_one_line(error)}."
        )


def _server_time() -> Steps[int]:
    rows = yield "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)", {}
    server_ms: int = rows[0][0]
    return server_ms


async def _why_not(conninfo: str) -> psycopg.Error | None:
    """What a connection fails on: the pool tells its log alone, and waits its full time."""
    try:
        connection = await AsyncConnection.connect(conninfo, connect_timeout=3)
    except psycopg.Error as error:
        return error
    await connection.close()
    return None
