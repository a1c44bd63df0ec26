"""Brings an SQLite file to the form that this version knows."""

from __future__ import annotations

import apsw

from forebay.apps.usage.store import UsageStoreTooNew
from forebay.sql.numbered import numbered_sql

_VERSIONS = """
CREATE TABLE IF NOT EXISTS usage_schema (
    version INTEGER PRIMARY KEY,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT
"""


def migrate(connection: apsw.Connection) -> None:
    """Run the files that the database has not seen, inside the caller's transaction.

    Raises UsageStoreTooNew when there are tables of a later form.
    """
    numbered = numbered_sql("forebay.apps.usage.sqlite")
    connection.execute(_VERSIONS)
    found = connection.execute("SELECT coalesce(max(version), 0) FROM usage_schema").get
    if found > numbered[-1][0]:
        raise UsageStoreTooNew
    for number, text in numbered:
        if number > found:
            connection.execute(text)
            connection.execute("INSERT INTO usage_schema (version) VALUES (?)", (number,))
