"""Reads back what was stored: `python ledger.py`."""

import apsw

database = apsw.Connection("warehouse.sqlite3")
[(stored, hottest, largest)] = database.execute(
    "SELECT count(*), max(celsius), max(batch) FROM reading"
)
print(f"{stored} readings, the hottest {hottest} °C, at most {largest} in a batch")
