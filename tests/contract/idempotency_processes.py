"""What the processes do that share an idempotency store, and where they die."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import psycopg

from forebay.idempotency import (
    AlreadyDone,
    Attempt,
    CheckBeforeDoing,
    Guard,
    Performed,
    SqliteIdempotencyStore,
    Started,
    Versions,
    advance_in,
    complete_in,
)
from forebay.idempotency.postgres import PostgresIdempotencyStore
from forebay.sqlite import open_database, transaction
from forebay.worker import Received, Retry, Router
from tests.runtime.worker_messages import envelope, lease

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

#: Short, so that who comes after a death need not wait for long.
LEASE_MS = 300

#: The application's own tables, in SQLite and in PostgreSQL.
TABLES = (
    "CREATE TABLE IF NOT EXISTS payment (order_id TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS applied (number INTEGER NOT NULL, version INTEGER NOT NULL)",
)

#: The application's log, in order.
APPLIED = "SELECT version FROM applied ORDER BY number"

Store = SqliteIdempotencyStore | PostgresIdempotencyStore


@asynccontextmanager
async def opened(place: str) -> AsyncIterator[Store]:
    """The store in a file, or in PostgreSQL by its conninfo."""
    store: Store
    if place.startswith("host="):
        store = await PostgresIdempotencyStore.open(place)
    else:
        store = await SqliteIdempotencyStore.open(place, durable=False)
    yield store
    await store.close()


def make_tables(place: str) -> None:
    for table in TABLES:
        execute(place, table)


def execute(place: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement of the application's."""
    if place.startswith("host="):
        with psycopg.connect(place, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
    database = open_database(place, durable=False)
    rows = database.execute(statement).fetchall()
    database.close()
    return rows


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def order_message(number: int) -> Received[Any]:
    router = Router()

    @router.handler("charge", dict[str, Any])
    async def ignored(received: Received[dict[str, Any]]) -> None: ...

    body = envelope("charge", {"order_id": f"o-{number}"}, identifier=f"e-{number}")
    return router.route(lease(body=body)).received


class Consumer:
    """Handles one message, and dies at a step if told so."""

    def __init__(
        self, place: str, store: Store, effects: Path, number: int, dies_at: str | None = None
    ) -> None:
        self.number = number
        self.place = place
        self.store = store
        self.effects = effects
        self.dies_at = dies_at
        self.guard = Guard(store, lease_ms=LEASE_MS, wait_ms=0)

    def reach(self, step: str) -> None:
        if step == self.dies_at:
            die()

    async def pay_in_database(self) -> Performed | AlreadyDone:
        """An effect in the database of the keys."""
        outcome = await self.guard.once(order_message(self.number), self._pay, by=("order_id",))
        self.reach("after complete, before delete")
        return outcome

    async def _pay(self, attempt: Attempt) -> bytes:
        self.reach("after begin")
        if self.place.startswith("host="):
            with psycopg.connect(self.place) as connection:
                self._pay_in(connection, attempt, connection.execute)
                self.reach("inside, before commit")
        else:
            database = open_database(self.place, durable=False)
            with transaction(database):
                self._pay_in(database, attempt, database.execute)
                self.reach("inside, before commit")
            database.close()
        self.reach("inside, after commit")
        return b"paid"

    def _pay_in(
        self,
        connection: apsw.Connection | psycopg.Connection,
        attempt: Attempt,
        execute: Callable[[Any], object],
    ) -> None:
        execute(f"INSERT INTO payment VALUES ('o-{self.number}')")
        self.reach("after effect, before complete")
        complete_in(connection, attempt, b"paid")

    async def charge_outside(self) -> Performed | AlreadyDone:
        """An effect in another system, which here is a file."""
        checked = CheckBeforeDoing(self.guard, self.store)
        outcome = await checked.once(order_message(self.number), self._charge, by=("order_id",))
        self.reach("after complete, before delete")
        return outcome

    async def _charge(self, attempt: Attempt) -> bytes:
        self.reach("after begin")
        with self.effects.open("a") as ledger:
            ledger.write(attempt.key + "\n")
        self.reach("after effect, before record")
        if self.dies_at == "after record":
            recorded = self.store.record_effect

            async def record_and_die(*arguments: Any) -> bool:
                await recorded(*arguments)
                die()
                return True

            self.store.record_effect = record_and_die  # type: ignore[assignment, method-assign]
        return b"charged"


def consume_and_die(place: str, effects: Path, kind: str, step: str, number: int = 7) -> None:
    """Handle a message in a process of its own."""

    async def consume() -> None:
        async with opened(place) as store:
            consumer = Consumer(place, store, effects, number, step)
            await (consumer.pay_in_database() if kind == "database" else consumer.charge_outside())

    asyncio.run(consume())


async def consume_until_done(
    place: str, effects: Path, kind: str, number: int = 7
) -> tuple[Performed | AlreadyDone, int]:
    """Handle the message as the receives after a death do; the outcome and how often it waited."""
    waits = 0
    async with opened(place) as store:
        consumer = Consumer(place, store, effects, number)
        while True:
            try:
                if kind == "database":
                    return await consumer.pay_in_database(), waits
                return await consumer.charge_outside(), waits
            except Retry as retry:
                waits += 1
                await asyncio.sleep(retry.delay_s)


def begin_all(
    place: str, keys: list[str], line_up: Barrier, results: Queue[dict[str, int]]
) -> None:
    """Begin every key, at the same time as the other processes; report the tokens gained."""

    async def begin_all() -> dict[str, int]:
        line_up.wait()
        async with opened(place) as store:
            found = await asyncio.gather(
                *(store.begin((key, f"business of {key}"), 60_000, 1_000) for key in keys)
            )
        return {
            key: beginning.token
            for key, beginning in zip(keys, found, strict=True)
            if isinstance(beginning, Started)
        }

    results.put(asyncio.run(begin_all()))


def shuffled(versions: int, seed: int) -> list[int]:
    """Each version twice, as a standard queue may deliver them."""
    order = [*range(1, versions + 1)] * 2
    random.Random(seed).shuffle(order)
    return order


def apply_inside(place: str, seed: int, versions: int, log: Path, line_up: Barrier) -> None:
    """Apply every version in the database of the versions, at the same time as the others."""
    statement = "INSERT INTO applied SELECT count(*), {} FROM applied"
    line_up.wait()
    if place.startswith("host="):
        with psycopg.connect(place, autocommit=True) as connection:
            for version in shuffled(versions, seed):
                with connection.transaction():
                    if advance_in(connection, "acct-1", version):
                        connection.execute(statement.format(version).encode())
    else:
        database = open_database(place, durable=False)
        for version in shuffled(versions, seed):
            with transaction(database):
                if advance_in(database, "acct-1", version):
                    database.execute(statement.format(version))
        database.close()


def apply_outside(place: str, seed: int, versions: int, log: Path, line_up: Barrier) -> None:
    """Append every version to a file, which takes whatever it is given."""

    async def append(version: int, attempt: Attempt) -> None:
        with log.open("a") as applied:
            applied.write(f"{version}\n")

    async def apply_all() -> None:
        async with opened(place) as store:
            applying = Versions(store, wait_ms=60_000)
            line_up.wait()
            for version in shuffled(versions, seed):
                await applying.apply_if_newer("acct-1", version, partial(append, version))

    asyncio.run(apply_all())
