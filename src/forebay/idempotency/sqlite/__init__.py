"""The idempotency store in SQLite."""

from forebay.idempotency.sqlite.store import SqliteIdempotencyStore, create_tables, run_steps

__all__ = ["SqliteIdempotencyStore", "create_tables", "run_steps"]
