"""Brings a PostgreSQL database to the form that this version knows."""

from __future__ import annotations

from psycopg import AsyncConnection

from forebay.idempotency.base import IdempotencyStoreTooNew
from forebay.idempotency.numbered_sql import numbered_sql

#: Names the lock under which one process at a time changes the tables: "forebay" in ASCII.
_LOCK = int.from_bytes(b"forebay", "big")


async def migrate(connection: AsyncConnection) -> None:
    """Run the files that the database has not seen, in one transaction.

    The tables are made in the first schema of the connection's `search_path`. Any number of
    processes may do this at once. Raises IdempotencyStoreTooNew when there are tables of a later
    form.
    """
    numbered = numbered_sql("forebay.idempotency.postgres")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS idempotency_schema"
            " (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        cursor = await connection.execute(
            "SELECT coalesce(max(version), 0) FROM idempotency_schema"
        )
        row = await cursor.fetchone()
        found = row[0] if row else 0
        if found > numbered[-1][0]:
            raise IdempotencyStoreTooNew
        for number, text in numbered:
            if number > found:
                await connection.execute(text.encode())
                await connection.execute(
                    "INSERT INTO idempotency_schema (version) VALUES (%s)", (number,)
                )
