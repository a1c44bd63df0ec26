"""Brings a PostgreSQL database to the form that this version knows."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

from forebay.idempotency.base import IdempotencyStoreTooNew
from forebay.sql import on_postgres


async def migrate(connection: AsyncConnection[Any]) -> None:
    """Run the files that the database has not seen, in one transaction.

    The tables are made in the first schema of the connection's `search_path`. Any number of
    processes may do this at once. Raises IdempotencyStoreTooNew when there are tables of a later
    form.
    """
    await on_postgres.migrate(
        connection, "forebay.idempotency.postgres", "idempotency_schema", IdempotencyStoreTooNew
    )
