"""A shop of Forebay's worker and guard: a charge is a row, in one transaction with its mark."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import apsw
from msgspec import Struct

from forebay import Guard, HttpSqsClient, Received, Router, Worker, run_until_signalled
from forebay.idempotency import Attempt, SqliteIdempotencyStore, complete_in
from forebay.idempotency.sqlite import create_tables
from forebay.sqlite import SharedWriter

CHARGES = "CREATE TABLE IF NOT EXISTS charge (number INTEGER, process INTEGER)"


class Order(Struct):
    """What a message carries."""

    number: int


def note(event: str, number: int) -> None:
    line = json.dumps([event, number, os.getpid()])
    with Path(os.environ["JOURNAL"]).open("a", encoding="utf-8") as journal:
        journal.write(f"{line}\n")


def is_slow() -> bool:
    return Path(os.environ["SLOW"]).exists()


def insert_charge(database: apsw.Connection, number: int, attempt: Attempt) -> None:
    database.execute("INSERT INTO charge VALUES (?, ?)", (number, os.getpid()))
    complete_in(database, attempt)


async def main() -> None:
    """Work until SIGTERM."""
    router = Router()
    writer = await SharedWriter.open(os.environ["DATABASE"], CHARGES)
    await writer.run(create_tables)
    # Shorter than usual, so that the end of a killed process's lease is not waited for long.
    guard = Guard(SqliteIdempotencyStore(writer), lease_ms=2_000)

    @router.handler("charge", Order)
    async def charge(received: Received[Order]) -> None:
        number = received.payload.number
        note("began", number)

        async def effect(attempt: Attempt) -> None:
            while number >= int(os.environ["SLOW_FROM"]) and is_slow():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.02)
            await writer.run(lambda database: insert_charge(database, number, attempt))

        try:
            await guard.once(received, effect, by=("number",))
        finally:
            note("ended", number)

    async with HttpSqsClient() as client:
        await run_until_signalled(Worker(client, os.environ["QUEUE_URL"], router))
    await writer.close()


if __name__ == "__main__":
    asyncio.run(main())
