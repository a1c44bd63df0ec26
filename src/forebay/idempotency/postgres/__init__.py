"""The idempotency store in PostgreSQL. It needs psycopg: `pip install "forebay[postgres]"`."""

from forebay.idempotency.postgres.store import PostgresIdempotencyStore

__all__ = ["PostgresIdempotencyStore"]
