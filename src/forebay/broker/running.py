"""A whole broker: journal, engine and HTTP endpoint, put together and taken apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.journal.base import Durability, Journal
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.journal.sqlite import SqliteJournal
from forebay.broker.server import HttpServer
from forebay.errors import SettingsError


def open_journal(data: Path | None, durability: Durability | None = None) -> Journal:
    """The journal of a data directory; in memory when there is none.

    Durability is fsync unless something else is asked for. Raises SettingsError when directory and
    durability contradict each other, DataDirectoryInUse when another broker has the directory, and
    JournalError when it cannot be used.
    """
    if durability is Durability.MEMORY or (data is None and durability is None):
        if data is not None:
            raise SettingsError("Durability memory keeps nothing. Name no data directory with it.")
        return MemoryJournal()
    durability = durability or Durability.FSYNC
    if data is None:
        raise SettingsError(
            f"Durability {durability.value} needs a data directory. Name one, or ask for memory."
        )
    return SqliteJournal(data, durability)


@asynccontextmanager
async def running_broker(
    data: Path | None,
    durability: Durability | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[HttpServer]:
    """A broker that serves until the block ends, and then answers what it owes and stops.

    Raises what `open_journal` and `HttpServer.start` raise.
    """
    journal = open_journal(data, durability)
    executor = _executor(journal)
    try:
        server = HttpServer(Broker(journal, executor=executor))
        await server.start(host, port)
        try:
            yield server
        finally:
            await server.stop()
    finally:
        executor.shutdown()
        journal.close()


def _executor(journal: Journal) -> Executor:
    if journal.durability is Durability.MEMORY:
        return InlineExecutor()
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="forebay-commit")
