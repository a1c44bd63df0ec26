"""Where the usage queue and its database are, as the environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from forebay.apps.usage.database_secret import DatabaseSecret
from forebay.apps.usage.queues import USAGE_LOGS_QUEUE
from forebay.errors import SettingsError
from forebay.worker.route import BATCH_MAX, WITHIN_MS_MAX

#: The URL of the usage queue, for producers and writers.
QUEUE_VARIABLE = "SQS_USAGE_LOG_QUEUE_URL"

#: The database's address: postgresql://… or sqlite:///PATH.
DATABASE_VARIABLE = "FOREBAY_USAGE_DATABASE"

#: The name or ARN of the secret in AWS Secrets Manager that says how to log in to PostgreSQL.
SECRET_VARIABLE = "DB_SECRET_NAME"  # noqa: S105 - the name of one

#: How a writer works; see WriterSettings.
BATCH_VARIABLE = "FOREBAY_USAGE_BATCH"
WITHIN_VARIABLE = "FOREBAY_USAGE_WITHIN_MS"
ROWS_VARIABLE = "FOREBAY_USAGE_ROWS_PER_TRANSACTION"

#: Most events of one invocation of the Lambda function.
INVOCATION_VARIABLE = "FOREBAY_USAGE_ROWS_PER_INVOCATION"
ROWS_PER_INVOCATION = 50_000

#: Most that any of these numbers of events may be.
ROWS_MAX = 10_000_000

_POSTGRES_SCHEMES = ("postgresql://", "postgres://")
_SQLITE_SCHEME = "sqlite:///"


class WriterSettings(Struct, frozen=True, kw_only=True):
    """How a writer gathers and writes.

    Source of the first two: the event source mapping of document 000.
    """

    #: Most messages of a batch.
    batch: int = 100
    #: How long a batch is gathered at most, in milliseconds.
    within_ms: int = 5_000
    #: Most events of one transaction, unless one message has more. A full batch of full packs is
    #: half a million of them, and all of a transaction is in memory at once.
    rows_per_transaction: int = 100_000


class DatabaseAddress(Protocol):
    """Says where the database is. It may say something else later."""

    async def read(self) -> str:
        """The address: postgresql://… or sqlite:///PATH. It may hold a password: never log it.

        Raises SettingsError when none can be found, and StoreError when it may be found later.
        """
        ...


class FixedAddress:
    """An address that was given."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self) -> str:
        return self._url


def usage_queue(environment: Mapping[str, str] = os.environ) -> str:
    """The usage queue: the URL in SQS_USAGE_LOG_QUEUE_URL, or the name that it has by default."""
    return environment.get(QUEUE_VARIABLE) or USAGE_LOGS_QUEUE


def usage_database(
    given: str | None = None, environment: Mapping[str, str] = os.environ
) -> DatabaseAddress:
    """Where the usage database is.

    `given` comes first, then FOREBAY_USAGE_DATABASE. With DB_SECRET_NAME and nothing given, the
    secret says how to log in, and FOREBAY_USAGE_DATABASE what the secret leaves out. Raises
    SettingsError when nothing names a database, or something that is none.
    """
    address = given or environment.get(DATABASE_VARIABLE) or None
    if address is not None:
        _check(address)
    secret = environment.get(SECRET_VARIABLE)
    if given is None and secret:
        if address is not None and address.startswith(_SQLITE_SCHEME):
            raise SettingsError(
                f"{SECRET_VARIABLE} is for PostgreSQL, and {DATABASE_VARIABLE} names a file of"
                " SQLite. Set only one of them."
            )
        return DatabaseSecret(secret, address)
    if address is None:
        raise SettingsError(
            "No usage database is named. Give --database postgresql://USER@HOST/NAME or"
            f" sqlite:///usage.sqlite3, or set {DATABASE_VARIABLE}, or {SECRET_VARIABLE} to a"
            " secret of AWS Secrets Manager."
        )
    return FixedAddress(address)


def writer_settings(environment: Mapping[str, str] = os.environ) -> WriterSettings:
    """How a writer works, as the variables say. Raises SettingsError for one out of range."""
    defaults = WriterSettings()
    return WriterSettings(
        batch=_number(environment, BATCH_VARIABLE, defaults.batch, BATCH_MAX),
        within_ms=_number(environment, WITHIN_VARIABLE, defaults.within_ms, WITHIN_MS_MAX),
        rows_per_transaction=_number(
            environment, ROWS_VARIABLE, defaults.rows_per_transaction, ROWS_MAX
        ),
    )


def rows_per_invocation(environment: Mapping[str, str] = os.environ) -> int:
    """Most events that a Lambda function writes at a time, unless one message has more.

    FOREBAY_USAGE_ROWS_PER_INVOCATION, or 50,000. Raises SettingsError when it is out of range.
    """
    return _number(environment, INVOCATION_VARIABLE, ROWS_PER_INVOCATION, ROWS_MAX)


def _number(environment: Mapping[str, str], variable: str, default: int, most: int) -> int:
    given = environment.get(variable) or str(default)
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= most:
        raise SettingsError(
            f"{variable} is {given!r}; it must be a whole number from 1 to {most:,}."
        )
    return int(given)


def _check(address: str) -> None:
    """Raises SettingsError, which does not repeat the address: it may hold a password."""
    if address.startswith(_POSTGRES_SCHEMES) or ("://" not in address and "=" in address):
        return
    if address.startswith(_SQLITE_SCHEME) and address != _SQLITE_SCHEME:
        return
    raise SettingsError(
        "The usage database's address is neither postgresql://USER@HOST/NAME nor sqlite:///PATH."
        " It is not repeated here because it may hold a password."
    )
