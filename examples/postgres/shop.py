"""Sells seats into PostgreSQL: the sale and the mark that it is done are one transaction."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct
from psycopg_pool import AsyncConnectionPool

from forebay import App, Guard, Received
from forebay.idempotency import Attempt, complete_in
from forebay.idempotency.postgres import PostgresIdempotencyStore

app = App()


class Order(Struct):
    order_id: str
    seat: str


class Office:
    """What is open while the worker runs."""

    pool: AsyncConnectionPool
    guard: Guard


@asynccontextmanager
async def office() -> AsyncIterator[App]:
    Path("worker.pid").write_text(str(os.getpid()))
    address = os.environ["DATABASE_URL"]
    store = await PostgresIdempotencyStore.open(address)
    async with AsyncConnectionPool(address, min_size=4, open=False) as Office.pool:
        Office.guard = Guard(store)
        yield app
    await store.close()


@app.consume("orders", Order)
async def sell(received: Received[Order]) -> None:
    order = received.payload

    async def effect(attempt: Attempt) -> None:
        async with Office.pool.connection() as database:
            await database.execute(
                "INSERT INTO sale (order_id, seat) VALUES (%s, %s)", (order.order_id, order.seat)
            )
            await complete_in(database, attempt)

    await Office.guard.once(received, effect, by=("order_id",), action="sell")
    # The sale is committed and the message is still there: a good moment to be killed.
    await asyncio.sleep(0.3)
