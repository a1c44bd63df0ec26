"""An idempotency store in an SQLite database, shared by the processes of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

import apsw

from forebay.clock import Clock
from forebay.errors import SettingsError, StoreError
from forebay.idempotency.base import IdempotencyStoreError, IdempotencyStoreTooNew
from forebay.idempotency.sql_store import SqlIdempotencyStore
from forebay.idempotency.sqlite.machine_time import boot_number, machine_time
from forebay.idempotency.statements import Tokens, Undone
from forebay.sql.numbered import numbered_sql
from forebay.sql.on_sqlite import run_steps
from forebay.sql.steps import Steps
from forebay.sqlite import SharedWriter

T = TypeVar("T")

_META = """
CREATE TABLE IF NOT EXISTS idempotency_meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO idempotency_meta VALUES ('format', 0), ('last_token', 0);
"""


def create_tables(connection: apsw.Connection) -> None:
    """Make the store's tables, or bring them to today's form, inside the caller's transaction.

    Raises IdempotencyStoreTooNew when there are tables of a later form.
    """
    files = numbered_sql("forebay.idempotency.sqlite")
    connection.execute(_META)
    found = connection.execute("SELECT value FROM idempotency_meta WHERE name = 'format'").get
    if found > files[-1][0]:
        raise IdempotencyStoreTooNew(
            f"The idempotency store {connection.filename} is from a newer Forebay. Upgrade, or use"
            " another store."
        )
    for number, text in files:
        if number > found:
            connection.execute(text)
            connection.execute(
                "UPDATE idempotency_meta SET value = ? WHERE name = 'format'", (number,)
            )


class SqliteIdempotencyStore(SqlIdempotencyStore):
    """A store in a file.

    Every call is one transaction, shared with all that wait at the same time. Any number of
    processes may open the file. The tables may live in an application's own database: then an
    effect in it and the mark that it is done commit together, see `complete_in`.
    """

    _tokens: ClassVar[Tokens] = Tokens(
        advance="UPDATE idempotency_meta SET value = value + 1 WHERE name = 'last_token'",
        value="(SELECT value FROM idempotency_meta WHERE name = 'last_token')",
    )

    def __init__(self, writer: SharedWriter) -> None:
        """Keep the records where an application's `writer` writes, which stays open after `close`.

        `create_tables` has made the tables there. Raises SettingsError for anything else, such as a
        path.
        """
        if not hasattr(writer, "run"):
            raise SettingsError(
                f"SqliteIdempotencyStore({writer!r}) has no writer. For a file of its own:"
                " await SqliteIdempotencyStore.open(path)."
            )
        self._writer = writer
        self._owns_writer = False
        self._ahead_ms: int | None = None

    @classmethod
    async def open(cls, path: Path | str, *, durable: bool = True) -> SqliteIdempotencyStore:
        """Open or create a file of its own.

        With `durable` a step survives the loss of power once its call has returned; without, the
        last steps may be lost with the power, but none when a process dies. Raises
        IdempotencyStoreError when the file cannot be opened.
        """
        with _as_idempotency_error():
            writer = await SharedWriter.open(path, durable=durable)
            try:
                await writer.run(create_tables)
            except BaseException:
                await writer.close()
                raise
        store = cls(writer)
        store._owns_writer = True
        return store

    async def time_ms(self, clock: Clock) -> int:
        if self._ahead_ms is None:
            boot = boot_number()
            if boot is None:
                return clock.wall_ms()
            wall_ms, monotonic_ms = clock.wall_ms(), clock.monotonic_ms()
            self._ahead_ms = await self._run(lambda: machine_time(boot, wall_ms - monotonic_ms))
        return clock.monotonic_ms() + self._ahead_ms

    async def close(self) -> None:
        if self._owns_writer:
            await self._writer.close()

    async def _run(self, steps: Callable[[], Steps[T]]) -> T:
        with _as_idempotency_error():
            try:
                return await self._writer.run(lambda connection: run_steps(connection, steps()))
            except Undone as undone:
                answer: T = undone.answer
                return answer

    async def _look(self, steps: Callable[[], Steps[T]]) -> T:
        with _as_idempotency_error():
            return await self._writer.read(lambda connection: run_steps(connection, steps()))


@contextmanager
def _as_idempotency_error() -> Iterator[None]:
    try:
        yield
    except IdempotencyStoreError:
        raise
    except StoreError as error:
        raise IdempotencyStoreError(str(error)) from error
