"""Sells seats into an SQLite file; the guard keeps its keys there too."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
from msgspec import Struct

from forebay import App, Guard, Received, WorkerSettings
from forebay.idempotency import Attempt, SqliteIdempotencyStore, complete_in

FILE = "shop.sqlite3"

# As many at a time as a kill is to hit.
app = App(settings=WorkerSettings(concurrency_min=64))
database = apsw.Connection(FILE)
database.set_busy_timeout(5_000)
database.execute("CREATE TABLE IF NOT EXISTS sale (order_id TEXT, guarded TEXT)")
database.execute("CREATE TABLE IF NOT EXISTS attempt (order_id TEXT, process_id INTEGER)")


class Order(Struct):
    order_id: str


class Office:
    """What is open while the worker runs."""

    guard: Guard


@asynccontextmanager
async def office() -> AsyncIterator[App]:
    Path("worker.pid").write_text(str(os.getpid()))
    store = await SqliteIdempotencyStore.open(FILE)
    Office.guard = Guard(store)
    yield app
    await store.close()


@app.consume("guarded", Order)
async def sell_once(received: Received[Order]) -> None:
    note(received)

    async def effect(attempt: Attempt) -> None:
        with database:
            sell(received, "yes")
            complete_in(database, attempt)

    await Office.guard.once(received, effect, by=("order_id",), action="sell")
    await print_ticket()


@app.consume("careless", Order)
async def sell_carelessly(received: Received[Order]) -> None:
    note(received)
    sell(received, "no")
    await print_ticket()


def sell(received: Received[Order], guarded: str) -> None:
    database.execute("INSERT INTO sale VALUES (?, ?)", (received.payload.order_id, guarded))


def note(received: Received[Order]) -> None:
    database.execute("INSERT INTO attempt VALUES (?, ?)", (received.payload.order_id, os.getpid()))


async def print_ticket() -> None:
    """Where a process may well be killed: the seat is sold, and the message is still there."""
    await asyncio.sleep(3)
