"""Runs steps on a connection to PostgreSQL, and brings its tables to today's form."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeVar

from psycopg import AsyncConnection, AsyncCursor, Connection, Error
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from forebay.sql.numbered import numbered_sql
from forebay.sql.steps import Steps

T = TypeVar("T")

#: Names the lock under which one process at a time changes tables: "forebay" in ASCII.
_LOCK = int.from_bytes(b"forebay", "big")


async def migrate(
    connection: AsyncConnection[Any], package: str, versions: str, too_new: type[Exception]
) -> None:
    """Run the numbered files of a package that the database has not seen, in one transaction.

    The table `versions` says which it has seen. Tables are made in the first schema of the
    connection's `search_path`; who may make none there needs none to be missing. Any number of
    processes may do this at once. Raises `too_new` when there are tables of a later form.
    """
    numbered = numbered_sql(package)
    table = Identifier(versions)
    async with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        # Who waited for the lock has to see what was done meanwhile, whatever the default is.
        await cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        await cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = await _version(cursor, versions)
        if found is None:
            await cursor.execute(
                SQL(
                    "CREATE TABLE {} (version int PRIMARY KEY,"
                    " applied_at timestamptz NOT NULL DEFAULT now())"
                ).format(table)
            )
            found = 0
        if found > numbered[-1][0]:
            raise too_new
        for number, text in numbered:
            if number > found:
                await cursor.execute(text.encode())
                await cursor.execute(
                    SQL("INSERT INTO {} (version) VALUES (%s)").format(table), (number,)
                )


async def require_tables(
    connection: AsyncConnection[Any],
    package: str,
    versions: str,
    *,
    missing: type[Exception],
    too_new: type[Exception],
) -> None:
    """Change nothing. Raises `missing` unless `migrate` has made all tables, or `too_new`."""
    latest = numbered_sql(package)[-1][0]
    async with connection.cursor(row_factory=tuple_row) as cursor:
        found = await _version(cursor, versions)
    if found is None or found < latest:
        raise missing
    if found > latest:
        raise too_new


async def _version(cursor: AsyncCursor[Any], versions: str) -> int | None:
    """The latest of the numbered files that the database has seen; None when it knows of none."""
    await cursor.execute(
        "SELECT to_regclass(quote_ident(current_schema()) || '.' || %s) IS NULL", (versions,)
    )
    if (await cursor.fetchone() or (True,))[0]:
        return None
    await cursor.execute(
        SQL("SELECT coalesce(max(version), 0) FROM {}").format(Identifier(versions))
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def run_steps(connection: AsyncConnection[Any], steps: Steps[T]) -> T:
    """Run steps in the connection's transaction."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        try:
            statement, values = next(steps)
            while True:
                await cursor.execute(_in_psycopg_form(statement), values)
                rows = await cursor.fetchall() if cursor.description else []
                statement, values = steps.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result


def run_steps_at_once(connection: Connection[Any], steps: Steps[T]) -> T:
    """As run_steps, on a connection that blocks."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        try:
            statement, values = next(steps)
            while True:
                cursor.execute(_in_psycopg_form(statement), values)
                rows = cursor.fetchall() if cursor.description else []
                statement, values = steps.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result


@lru_cache(maxsize=64)
def _in_psycopg_form(statement: str) -> bytes:
    return re.sub(r":(\w+)", r"%(\1)s", statement).encode()


def in_one_line(error: Error) -> str:
    """What PostgreSQL or psycopg says, in one line without the mark at its end."""
    return " ".join(str(error).split()).rstrip(".?") or type(error).__name__
