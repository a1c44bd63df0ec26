"""Many small changes to a SQLite file, one commit for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

import apsw

from forebay.apps.gathering import Gathering
from forebay.apps.sqlite import store_error, transaction

T = TypeVar("T")

#: What a caller wants done in a transaction.
Operation = Callable[[apsw.Connection], T]

#: Most operations in one commit. Keeps a commit, and so the write lock, to a few milliseconds.
_OPERATIONS_MAX = 200


class GroupCommit:
    """Runs operations on a SQLite connection, one transaction for all that wait.

    Each operation is atomic by itself: one that raises is undone alone and its caller gets the
    exception. `run` returns after the commit, so what it returns is durable. If the commit fails
    nothing of the group is kept and every caller gets the error. Errors of SQLite's are raised as
    StoreError. Everything runs in the executor, which must have one thread, because a connection
    serves one at a time.
    """

    def __init__(self, connection: apsw.Connection, executor: Executor) -> None:
        self._connection = connection
        self._executor = executor
        self._operations: Gathering[Operation[Any], Any] = Gathering(
            self._commit, executor, items_max=_OPERATIONS_MAX
        )

    async def run(self, operation: Operation[T]) -> T:
        """Do `operation` and make it durable."""
        result: T = await self._operations.submit(operation)
        return result

    async def read(self, operation: Operation[T]) -> T:
        """Do `operation`, which only reads, without waiting for anybody's write lock."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._read, operation)

    async def close(self) -> None:
        """Finish what waits and close the file."""
        await self._operations.finish()
        await asyncio.get_running_loop().run_in_executor(self._executor, self._connection.close)

    def _commit(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        with transaction(self._connection):
            return [self._run_alone(operation) for operation in operations]

    def _run_alone(self, operation: Operation[Any]) -> Any:
        """The operation's result, or the exception that undid it."""
        try:
            with self._connection:
                return operation(self._connection)
        except apsw.Error as error:
            return store_error(self._connection, error)
        except Exception as error:
            return error

    def _read(self, operation: Operation[T]) -> T:
        try:
            return operation(self._connection)
        except apsw.Error as error:
            raise store_error(self._connection, error) from error
