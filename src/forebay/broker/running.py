"""A whole broker: journal, engine and HTTP endpoint, put together and taken apart."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import SSLContext

from forebay.broker.access import Access
from forebay.broker.bootstrap import DeclaredQueue, Outcome, create_declared
from forebay.broker.broker import Broker
from forebay.broker.commit import InlineExecutor
from forebay.broker.faults import FaultySubmit
from forebay.broker.journal.base import Durability, Journal
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.journal.reserve import DiskReserve
from forebay.broker.journal.sqlite import SqliteJournal
from forebay.broker.memory_limit import default_memory_limit_bytes
from forebay.broker.origins import Origins
from forebay.broker.server import HttpServer
from forebay.errors import SettingsError
from forebay.fault_injection import FaultPlane
from forebay.protocol.identifiers import DEFAULT_REGION
from forebay.protocol.limits import RECREATE_INTERVAL_MS
from forebay.scaled_clock import ScaledClock


def open_journal(
    data: Path | None,
    durability: Durability | None = None,
    disk_reserve_bytes: int | None = None,
) -> Journal:
    """The journal of a data directory; in memory when there is none.

    `disk_reserve_bytes` are kept for receives and deletes: see DiskReserve. Durability is fsync
    unless something else is asked for. Raises SettingsError when directory and durability
    contradict each other, DataDirectoryInUse when another broker has the directory, and
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
    return SqliteJournal(
        data,
        durability,
        reserve=lambda directory: DiskReserve(directory, disk_reserve_bytes),
    )


def tls_context(certificate: Path, key: Path) -> SSLContext:
    """What a server needs to speak TLS. Raises SettingsError, which names the files."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"The TLS certificate {certificate} and key {key} cannot be used: {error}."
            " Both must be PEM files, the key without a passphrase."
        ) from error
    return context


def _nothing(_: list[Outcome]) -> None:
    """Told of the declared queues when nobody else wants to know."""


@asynccontextmanager
async def running_broker(
    data: Path | None,
    durability: Durability | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    access: Access | None = None,
    origins: Origins | None = None,
    tls: SSLContext | None = None,
    faults: FaultPlane | None = None,
    time_scale: float = 1.0,
    recreate_interval_s: float = RECREATE_INTERVAL_MS / 1000,
    region: str = DEFAULT_REGION,
    auto_create: bool = False,
    declared: Sequence[DeclaredQueue] = (),
    declared_done: Callable[[list[Outcome]], None] = _nothing,
    disk_reserve_bytes: int | None = None,
    memory_limit_bytes: int | None = None,
) -> AsyncIterator[HttpServer]:
    """A broker that serves until the block ends, and then answers what it owes and stops.

    The declared queues are there before it listens, in `region`, which is also that of requests
    that name none; `declared_done` is told what was done. Faults happen in the time of the queues,
    which passes `time_scale` times as fast as a clock's. Raises what `open_journal`,
    `create_declared` and `HttpServer.start` raise.
    """
    journal = open_journal(data, durability, disk_reserve_bytes)
    executor = _executor(journal)
    try:
        broker = Broker(
            journal,
            executor=executor,
            time_scale=time_scale,
            recreate_interval_ms=round(recreate_interval_s * 1000),
            memory_limit_bytes=(
                default_memory_limit_bytes() if memory_limit_bytes is None else memory_limit_bytes
            ),
            region=region,
        )
        faulty = None
        if faults is not None:
            faulty = FaultySubmit(broker.submit, faults, ScaledClock(time_scale))
        server = HttpServer(broker, access=access, origins=origins, tls=tls, faults=faulty)
        if declared:
            declared_done(await create_declared(broker.call, declared))
        # Not before: declaring a queue begins with looking whether it is there.
        broker.auto_create = auto_create
        await server.start(host, port)
        try:
            yield server
        finally:
            if faulty is not None:
                faulty.close()
            await server.stop()
    finally:
        executor.shutdown()
        journal.close()


def _executor(journal: Journal) -> Executor:
    if journal.durability is Durability.MEMORY:
        return InlineExecutor()
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="forebay-commit")
