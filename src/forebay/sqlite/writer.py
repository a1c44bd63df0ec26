"""Many small changes to a SQLite file, one commit for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from forebay.errors import StoreError
from forebay.sqlite.database import open_database, store_error, transaction

T = TypeVar("T")

#: What a caller wants done in a transaction.
Operation = Callable[[apsw.Connection], T]

#: Most operations in one commit. Keeps a commit, and so the write lock, to a few milliseconds.
_OPERATIONS_MAX = 200


class SharedWriter:
    """Runs operations on a SQLite file in a thread of its own, one transaction for all that wait.

    Each operation is atomic by itself: one that raises is undone alone and its caller gets the
    exception. `run` returns after the commit, so what it returns is durable. If the commit fails
    nothing of the group is kept and every caller gets the error. Errors of SQLite's are raised as
    StoreError.

    The broker's GroupCommit differs: there a change is made at once, in memory, and its answer is
    held back until the journal has it; here the change itself waits for its transaction.
    """

    def __init__(self, connection: apsw.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        #: One thread, because a connection serves one at a time.
        self._thread = thread
        self._waiting: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(
        cls, path: Path | str, schema: str = "", *, durable: bool = True
    ) -> SharedWriter:
        """Open or create a file as `open_database` does. Raises StoreError."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        loop = asyncio.get_running_loop()
        try:
            connection = await loop.run_in_executor(
                thread, lambda: open_database(path, schema, durable=durable)
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(connection, thread)

    async def run(self, operation: Operation[T]) -> T:
        """Do `operation` and make it durable. A caller that is cancelled does not stop it."""
        self._refuse_when_closed()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, answer))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_groups())
        return await answer

    async def read(self, operation: Operation[T]) -> T:
        """Do `operation`, which only reads, without waiting for anybody's write lock."""
        self._refuse_when_closed()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, operation)

    async def close(self) -> None:
        """Finish what waits and close the file. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._committing is not None:
            await self._committing
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StoreError("The store was closed; open it again.")

    async def _commit_groups(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._waiting[:_OPERATIONS_MAX]
            del self._waiting[:_OPERATIONS_MAX]
            results: Sequence[Any]
            try:
                results = await loop.run_in_executor(
                    self._thread, self._commit, [operation for operation, _ in group]
                )
            except Exception as error:
                results = [error] * len(group)
            for (_, answer), result in zip(group, results, strict=True):
                if answer.done():
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)
        self._committing = None

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
        except (StopIteration, SystemExit) as error:
            # They would end whoever awaits, and the commits of all others.
            return RuntimeError(f"The operation raised {error!r}.")
        except Exception as error:
            return error

    def _read(self, operation: Operation[T]) -> T:
        try:
            return operation(self._connection)
        except apsw.Error as error:
            raise store_error(self._connection, error) from error
