"""The journal's file: how it is opened, what tells it from others, and how it grows older.

`PRAGMA application_id` says that a file is a journal and `PRAGMA user_version` which format it has:
the number of scripts in `sql/` that made it. A file of an older format is brought up by the scripts
it has not seen. See docs/reference/journal-format.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import apsw

from forebay.broker.journal.base import Durability
from forebay.broker.journal.transaction import journal_error, journal_errors
from forebay.errors import JournalError, JournalTooNew

#: What `PRAGMA application_id` says of a journal: "FBAY".
APPLICATION_ID = 0x46424159

#: Size of a page of the file, in bytes. Measured: docs/decisions/0001-journal.md.
PAGE_BYTES = 16_384

#: Pages in the write-ahead log after which a commit copies them into the database. Small, because
#: that commit and those behind it wait; the same measurement.
CHECKPOINT_PAGES = 256

#: Memory for pages, in KiB. The journal is written far more than read.
_CACHE_KIB = 16_384

#: How long a commit waits for somebody else's lock on the file, for example a backup's, in ms.
_BUSY_TIMEOUT_MS = 5_000

#: Statements that stay prepared: every statement with every number of rows that sqlite.py uses.
_STATEMENTS_MAX = 512

_SYNCHRONOUS = {Durability.FSYNC: "FULL", Durability.OS: "NORMAL"}


def migrations(database: str) -> list[str]:
    """The scripts that make a database of this version, "tables" or "log", oldest first."""
    folder = resources.files(__package__) / "sql" / database
    scripts = sorted(folder.iterdir(), key=lambda script: script.name)
    return [script.read_text() for script in scripts]


def open_database(
    path: Path,
    durability: Durability,
    scripts: Sequence[str],
    vfs: str | None = None,
    wal_pages: int = CHECKPOINT_PAGES,
) -> apsw.Connection:
    """The journal at `path`, made or brought up to the newest format.

    `vfs` names what SQLite reads and writes files with; None is the operating system's own. The
    write-ahead log is copied into the database at `wal_pages`, and holds more after a large
    transaction alone.
    Raises JournalTooNew when a newer Forebay wrote it, and JournalError when it is no journal or
    cannot be opened.
    """
    with journal_errors(path, "opened"):
        database = apsw.Connection(str(path), vfs=vfs, statementcachesize=_STATEMENTS_MAX)
    try:
        _check_format(database, path, len(scripts))
        _configure(database, durability, wal_pages)
        _migrate(database, scripts)
    except apsw.NotADBError as error:
        database.close()
        raise _not_a_journal(path) from error
    except apsw.Error as error:
        database.close()
        raise journal_error(path, "opened", error) from error
    except JournalError:
        database.close()
        raise
    return database


def open_reader(path: Path, vfs: str | None = None) -> apsw.Connection:
    """A second connection to a database that is open, which reads and never waits for a commit.

    Raises JournalError.
    """
    with journal_errors(path, "opened"):
        return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)


def open_beside(path: Path, durability: Durability, vfs: str | None = None) -> apsw.Connection:
    """A second connection to a database that is open, which copies its write-ahead log.

    Raises JournalError.
    """
    with journal_errors(path, "opened"):
        database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        database.pragma("synchronous", _SYNCHRONOUS[durability])
        database.pragma("checkpoint_fullfsync", True)
        database.pragma("wal_autocheckpoint", 0)
        # Until it has read something it does not know that there is a write-ahead log.
        database.pragma("user_version")
    return database


def cut_write_ahead_log(database: apsw.Connection, path: Path) -> None:
    """Give back the space of a write-ahead log that is longer than it has to be.

    Raises apsw.Error, also when somebody else reads the file.
    """
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size > database.pragma("journal_size_limit"):
        database.set_busy_timeout(0)
        try:
            database.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            database.set_busy_timeout(_BUSY_TIMEOUT_MS)


def _check_format(database: apsw.Connection, path: Path, newest: int) -> None:
    version = database.pragma("user_version")
    if database.pragma("application_id") != APPLICATION_ID:
        if version or database.pragma("schema_version"):
            raise _not_a_journal(path)
    elif version > newest:
        raise JournalTooNew(
            f"The journal {path} has format {version}, and this Forebay reads up to {newest}."
            " Upgrade Forebay, or choose another --data directory."
        )


def _not_a_journal(path: Path) -> JournalError:
    return JournalError(
        f"The file {path} is not a journal of Forebay. Choose another --data directory."
    )


def _configure(database: apsw.Connection, durability: Durability, wal_pages: int) -> None:
    database.set_busy_timeout(_BUSY_TIMEOUT_MS)
    database.pragma("page_size", PAGE_BYTES)
    database.pragma("journal_mode", "WAL")
    database.pragma("synchronous", _SYNCHRONOUS[durability])
    # Without these macOS leaves the write in the drive's own cache.
    database.pragma("fullfsync", True)
    database.pragma("checkpoint_fullfsync", True)
    database.pragma("wal_autocheckpoint", wal_pages)
    database.pragma("journal_size_limit", 2 * wal_pages * PAGE_BYTES)
    database.pragma("cache_size", -_CACHE_KIB)
    # What SQLite would put into files for a while needs no room on a disk that is full.
    database.pragma("temp_store", "MEMORY")


def _migrate(database: apsw.Connection, scripts: Sequence[str]) -> None:
    version = database.pragma("user_version")
    if version == len(scripts):
        return
    with database:
        for script in scripts[version:]:
            database.execute(script)
        database.pragma("application_id", APPLICATION_ID)
        database.pragma("user_version", len(scripts))
