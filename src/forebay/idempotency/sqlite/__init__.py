"""The idempotency store in SQLite."""

from forebay.idempotency.sqlite.store import SqliteIdempotencyStore, create_tables

__all__ = ["SqliteIdempotencyStore", "create_tables"]
