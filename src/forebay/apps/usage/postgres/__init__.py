"""The usage store in PostgreSQL. It needs psycopg: `pip install "forebay[postgres]"`."""

try:
    from forebay.apps.usage.postgres.store import PostgresUsageStore
except ModuleNotFoundError as error:
    if error.name not in {"psycopg", "psycopg_pool"}:
        raise
    raise ImportError(
        'The store in PostgreSQL needs psycopg: pip install "forebay[postgres]".'
    ) from error

__all__ = ["PostgresUsageStore"]
