"""The tables of scenarios, in SQLite: what was done about each message, and each effect."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import apsw

from forebay.errors import StoreError
from forebay.idempotency.sqlite import create_tables
from forebay.lab.infrastructure.directory import LabDirectory

#: What the tables of document 001 are called in a database.
TABLES = ("message_status", "message_side_effects")

#: How long others who write into a file are waited for, in milliseconds.
_PATIENCE_MS = 10_000


def tables_url(path: Path) -> str:
    """A file of tables, as MESSAGE_STATUS_TABLE and MESSAGE_SIDE_EFFECTS_TABLE name it."""
    return f"sqlite:///{quote(str(path.absolute()))}"


def make_tables(path: Path) -> bool:
    """Make the tables in a file, or bring them to today's form; whether the file is new.

    Raises StoreError when they cannot be made.
    """
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(apsw.Connection(str(path))) as database:
            # A consumer may have it open, and another process may make it just now.
            database.set_busy_timeout(_PATIENCE_MS)
            database.execute("BEGIN IMMEDIATE")
            create_tables(database)
            database.execute("COMMIT")
    except apsw.Error as error:
        raise StoreError(f"The tables in {path} cannot be made: {error}.") from error
    return new


def missing_tables(path: Path) -> list[str]:
    """The tables that a file should have and has not; all of them when there is no such file.

    Raises StoreError when the file is no database or cannot be read.
    """
    if not path.exists():
        return list(TABLES)
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as database:
            rows = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            found = {name for (name,) in rows}
    except apsw.Error as error:
        raise StoreError(f"{path} cannot be read: {error}.") from error
    return [name for name in TABLES if name not in found]


def is_in(url: str, directory: LabDirectory) -> bool:
    """Whether what `tables_url` made of a file says that it is the lab's of a directory."""
    return url.startswith(tables_url(directory.tables) + "/")
