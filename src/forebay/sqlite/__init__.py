"""SQLite files that several processes share, and writing to them in groups."""

from forebay.sqlite.database import open_database, store_error, transaction
from forebay.sqlite.writer import SharedWriter

__all__ = ["SharedWriter", "open_database", "store_error", "transaction"]
