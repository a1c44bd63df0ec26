"""Writes readings into SQLite, up to a hundred in one transaction."""

from collections.abc import Mapping

import apsw
from msgspec import Struct

from forebay import App, Received, Reject

app = App()
database = apsw.Connection("warehouse.sqlite3")
database.execute(
    "CREATE TABLE IF NOT EXISTS reading (id TEXT PRIMARY KEY, celsius REAL, batch INTEGER)"
)


class Reading(Struct):
    celsius: float


@app.consume("readings", Reading, batch=100, within_ms=200)
async def store(
    batch: list[Received[Reading]],
) -> Mapping[Received[Reading], Exception]:
    """Store what can be stored, and say which message cannot."""
    failures: dict[Received[Reading], Exception] = {}
    with database:
        for received in batch:
            celsius = received.payload.celsius
            if celsius < -273.15:
                failures[received] = Reject(f"{celsius} °C is below absolute zero")
            elif celsius > 1_000 and received.receive_count == 1:
                failures[received] = ValueError(f"{celsius} °C: ask the sensor again")
            else:
                database.execute(
                    "INSERT OR IGNORE INTO reading VALUES (?, ?, ?)",
                    (received.id, celsius, len(batch)),
                )
    print(f"{len(batch)} readings, {len(failures)} not stored", flush=True)
    return failures
