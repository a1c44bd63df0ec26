"""Parameters in PostgreSQL. It needs psycopg: `pip install "forebay[postgres]"`."""

try:
    from forebay.parameters.postgres.store import PostgresParameterStore
except ModuleNotFoundError as error:
    if error.name not in {"psycopg", "psycopg_pool"}:
        raise
    raise ImportError(
        'Parameters in PostgreSQL need psycopg: pip install "forebay[postgres]".'
    ) from error

__all__ = ["PostgresParameterStore"]
