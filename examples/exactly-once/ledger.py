"""Reads back what was sold: `python ledger.py`. Fails when a guarded order was not sold once."""

import sys

import apsw

database = apsw.Connection("shop.sqlite3")


def count(text: str, *values: str) -> int:
    [(number,)] = database.execute(text, values)
    return int(number)


SOLD = "SELECT count(*) AS times FROM sale WHERE guarded = ? GROUP BY order_id"
orders = count(f"SELECT count(*) FROM ({SOLD})", "yes")
twice = count(f"SELECT count(*) FROM ({SOLD}) WHERE times > 1", "yes")
carelessly_twice = count(f"SELECT count(*) FROM ({SOLD}) WHERE times > 1", "no")

print("attempts:              ", count("SELECT count(*) FROM attempt"))
print("processes:             ", count("SELECT count(DISTINCT process_id) FROM attempt"))
print("guarded orders:        ", orders)
print("  sold more than once: ", twice)
print("careless ones,")
print("  sold more than once: ", carelessly_twice)
sys.exit(twice)
