"""Opening the store that an address names."""

from __future__ import annotations

from forebay.apps.usage.retention import Retention
from forebay.apps.usage.store import UsageStore
from forebay.errors import SettingsError

_SQLITE_SCHEME = "sqlite:///"


async def open_usage_store(
    address: str,
    *,
    retention: Retention | None = None,
    connections_max: int = 4,
    make_tables: bool = True,
) -> UsageStore:
    """Open the store at sqlite:///PATH, or else in PostgreSQL with so many connections at most.

    Tables are made, or brought to today's form; without `make_tables` they are only looked for.
    Raises StoreError, and SettingsError when what PostgreSQL needs is not installed.
    """
    if address.startswith(_SQLITE_SCHEME):
        from forebay.apps.usage.sqlite import SqliteUsageStore  # noqa: PLC0415

        return await SqliteUsageStore.open(
            address.removeprefix(_SQLITE_SCHEME), retention=retention, make_tables=make_tables
        )
    try:
        from forebay.apps.usage.postgres import PostgresUsageStore  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(str(error)) from error
    return await PostgresUsageStore.open(
        address, retention=retention, connections_max=connections_max, make_tables=make_tables
    )
