"""Parameters in an SQLite file, for the processes of one machine."""

from forebay.parameters.sqlite.store import SqliteParameterStore

__all__ = ["SqliteParameterStore"]
