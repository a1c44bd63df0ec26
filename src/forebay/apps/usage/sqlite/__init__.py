"""The usage store in an SQLite file."""

from forebay.apps.usage.sqlite.store import SqliteUsageStore

__all__ = ["SqliteUsageStore"]
