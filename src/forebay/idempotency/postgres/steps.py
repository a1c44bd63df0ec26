"""Runs the steps of `forebay.idempotency.statements` on a connection to PostgreSQL."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg.rows import tuple_row

from forebay.idempotency.statements import Steps

T = TypeVar("T")


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
