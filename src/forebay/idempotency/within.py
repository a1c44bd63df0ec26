"""The records inside a transaction of the caller's: they commit with its own changes or not at all.

Each function takes a connection of apsw, or one of psycopg, which is in a transaction. With an
AsyncConnection it is awaited:

    async with connection.transaction():
        await connection.execute("INSERT INTO payment …")
        await complete_in(connection, attempt)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import apsw

from forebay.clock import SystemClock
from forebay.errors import ForebayError
from forebay.idempotency import statements
from forebay.idempotency.holding import Attempt, LeaseLost, stored
from forebay.idempotency.records import SideEffect
from forebay.idempotency.statements import Undone
from forebay.idempotency.versions import Version, version_number
from forebay.sql import on_sqlite
from forebay.sql.steps import Steps

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Connection

    #: A connection whose calls block.
    Blocking: TypeAlias = apsw.Connection | Connection[Any]

T = TypeVar("T")


class NotInTransaction(ForebayError):
    """The connection is in no transaction, so nothing would commit together. Begin one."""


@overload
def complete_in(connection: Blocking, attempt: Attempt, result: object = None) -> None: ...
@overload
def complete_in(
    connection: AsyncConnection[Any], attempt: Attempt, result: object = None
) -> Awaitable[None]: ...
def complete_in(
    connection: Blocking | AsyncConnection[Any], attempt: Attempt, result: object = None
) -> Awaitable[None] | None:
    """Make the keys of an attempt done together with what the transaction does.

    A result that is not bytes is stored as JSON.

    Raises LeaseLost when somebody else has taken a key over: let it roll the transaction back.
    Raises NotInTransaction.
    """

    kept = stored(result)

    def steps() -> Steps[None]:
        now_ms = attempt.time.last_known_ms()
        try:
            yield from statements.complete(attempt.keys, attempt.token, kept, now_ms)
        except Undone:
            raise LeaseLost(
                f"Somebody else has taken {attempt.key!r} over; the transaction must not commit."
            ) from None
        attempt.completed_inside = True

    return _run(connection, steps)


@overload
def record_effect_in(connection: Blocking, key: str, effect: SideEffect) -> bool: ...
@overload
def record_effect_in(
    connection: AsyncConnection[Any], key: str, effect: SideEffect
) -> Awaitable[bool]: ...
def record_effect_in(
    connection: Blocking | AsyncConnection[Any], key: str, effect: SideEffect
) -> bool | Awaitable[bool]:
    """SideEffects.record_effect as a part of the transaction. Raises NotInTransaction."""
    return _run(connection, lambda: statements.record_effect(key, effect))


@overload
def advance_in(connection: Blocking, entity: str, version: Version) -> bool: ...
@overload
def advance_in(
    connection: AsyncConnection[Any], entity: str, version: Version
) -> Awaitable[bool]: ...
def advance_in(
    connection: Blocking | AsyncConnection[Any], entity: str, version: Version
) -> bool | Awaitable[bool]:
    """Make a version the newest of its entity; False when it is not newer.

    Apply the version in the same transaction when it is True. Others that advance the entity wait
    until the transaction ends, so that versions are applied in the order in which they commit.
    Raises VersionError and NotInTransaction.
    """
    number = version_number(version)
    now_ms = SystemClock().wall_ms()
    return _run(connection, lambda: statements.advance_version(entity, number, now_ms))


def _run(
    connection: Blocking | AsyncConnection[Any], steps: Callable[[], Steps[T]]
) -> T | Awaitable[T]:
    if isinstance(connection, apsw.Connection):
        if not connection.in_transaction:
            raise NotInTransaction
        return on_sqlite.run_steps(connection, steps())
    from psycopg import AsyncConnection  # noqa: PLC0415 - it is installed where one is at hand
    from psycopg.pq import TransactionStatus  # noqa: PLC0415

    from forebay.sql import on_postgres  # noqa: PLC0415

    idle = connection.info.transaction_status is TransactionStatus.IDLE
    if idle and connection.autocommit:
        raise NotInTransaction
    if isinstance(connection, AsyncConnection):
        return on_postgres.run_steps(connection, steps())
    return on_postgres.run_steps_at_once(connection, steps())
