"""Runs steps on a connection to SQLite."""

from __future__ import annotations

from typing import TypeVar

import apsw

from forebay.sql.steps import Steps

T = TypeVar("T")


def run_steps(connection: apsw.Connection, steps: Steps[T]) -> T:
    """Run steps in the connection's transaction."""
    try:
        statement, values = next(steps)
        while True:
            rows = connection.execute(statement, values).fetchall()
            statement, values = steps.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result
