"""Brings an SQLite file to the form that this version knows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from forebay.apps.usage.store import NoUsageTables, UsageStoreTooNew
from forebay.errors import StoreError
from forebay.sql.numbered import numbered_sql

_PACKAGE = "forebay.apps.usage.sqlite"

_VERSIONS = """
CREATE TABLE IF NOT EXISTS usage_schema (
    version INTEGER PRIMARY KEY,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT
"""


def require_tables(path: Path | str) -> None:
    """Change nothing.

    Raises NoUsageTables unless `migrate` has made all tables in that file, UsageStoreTooNew, and
    StoreError.
    """
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            found = connection.execute("SELECT coalesce(max(version), 0) FROM usage_schema").get
    except (apsw.CantOpenError, apsw.NotADBError, apsw.SQLError) as error:
        raise NoUsageTables from error
    except apsw.Error as error:
        raise StoreError(f"The usage database {path} cannot be read: {error}.") from error
    latest = numbered_sql(_PACKAGE)[-1][0]
    if found < latest:
        raise NoUsageTables
    if found > latest:
        raise UsageStoreTooNew


def migrate(connection: apsw.Connection) -> None:
    """Run the files that the database has not seen, inside the caller's transaction.

    Raises UsageStoreTooNew when there are tables of a later form.
    """
    numbered = numbered_sql(_PACKAGE)
    connection.execute(_VERSIONS)
    found = connection.execute("SELECT coalesce(max(version), 0) FROM usage_schema").get
    if found > numbered[-1][0]:
        raise UsageStoreTooNew
    for number, text in numbered:
        if number > found:
            connection.execute(text)
            connection.execute("INSERT INTO usage_schema (version) VALUES (?)", (number,))
