"""The steps of the SQL stores: statements that SQLite and PostgreSQL both take.

See `forebay.sql.steps`. All of one generator's steps are one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from forebay.idempotency.base import (
    Beginning,
    Done,
    InProgress,
    KeyRecord,
    KeyState,
    PayloadDiffers,
    Started,
)
from forebay.idempotency.records import MessageStatus, SideEffect, Status
from forebay.sql.steps import Steps
from forebay.sql.texts import stored_name, stored_text

T = TypeVar("T")


class Undone(Exception):
    """Ends a transaction with an answer, and with nothing changed."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        super().__init__()


class Tokens(NamedTuple):
    """Where a database takes the next token from."""

    #: Run once before tokens are taken, if any.
    advance: str | None
    value: str


def begin(
    keys: tuple[str, ...], lease_ms: int, now_ms: int, digest: bytes | None, tokens: Tokens
) -> Steps[Beginning]:
    if tokens.advance is not None:
        yield tokens.advance, {}
    claimed: dict[str, tuple[int, int]] = {}
    # In order, so that two who begin the same keys wait for each other in one direction.
    for key in sorted(set(keys)):
        rows = yield (
            "INSERT INTO idempotency_record AS r"  # noqa: S608 - a table of ours
            " (key, token, state, ends_at_ms, attempts, digest, result, error)"
            f" VALUES (:key, {tokens.value}, 'STARTED', :ends_at_ms, 1, :digest, NULL, NULL)"
            f" ON CONFLICT (key) DO UPDATE SET token = {tokens.value}, state = 'STARTED',"
            " ends_at_ms = excluded.ends_at_ms, attempts = r.attempts + 1,"
            " digest = coalesce(r.digest, excluded.digest), error = NULL"
            " WHERE r.state <> 'COMPLETED'"
            " AND (r.state <> 'STARTED' OR r.ends_at_ms <= :now_ms)"
            " AND (r.digest IS NULL OR excluded.digest IS NULL OR r.digest = excluded.digest)"
            " RETURNING token, attempts",
            {
                "key": stored_name(key),
                "ends_at_ms": now_ms + lease_ms,
                "digest": digest,
                "now_ms": now_ms,
            },
        )
        if not rows:
            others = [each for each in keys if each not in claimed]
            raise Undone((yield from _why_not(others, now_ms, digest)))
        claimed[key] = (rows[0][0], rows[0][1])
    token = max(token for token, _ in claimed.values())
    for key, (lower, _) in claimed.items():
        if lower != token:
            yield (
                "UPDATE idempotency_record SET token = :token WHERE key = :key",
                {"key": stored_name(key), "token": token},
            )
    return Started(token, max(attempts for _, attempts in claimed.values()))


def _why_not(keys: Sequence[str], now_ms: int, digest: bytes | None) -> Steps[InProgress | Done]:
    """What stands against beginning the keys."""
    records = []
    for key in keys:
        record = yield from find(key)
        if record is not None:
            _check(key, record.digest, digest)
            records.append(record)
    for record in records:
        if record.state is KeyState.COMPLETED:
            return Done(record.result)
    return InProgress(
        max(
            (record.ends_at_ms for record in records if record.state is KeyState.STARTED),
            default=now_ms,
        )
    )


def extend(keys: tuple[str, ...], token: int, lease_ms: int, now_ms: int) -> Steps[bool]:
    for key in sorted(set(keys)):
        rows = yield (
            "UPDATE idempotency_record SET ends_at_ms ="
            " CASE WHEN ends_at_ms < :until_ms THEN :until_ms ELSE ends_at_ms END"
            " WHERE key = :key AND token = :token AND state = 'STARTED' RETURNING key",
            {"key": stored_name(key), "token": token, "until_ms": now_ms + lease_ms},
        )
        if not rows:
            raise Undone(answer=False)
    return True


def complete(keys: tuple[str, ...], token: int, result: bytes | None, now_ms: int) -> Steps[bool]:
    for key in sorted(set(keys)):
        rows = yield (
            "UPDATE idempotency_record SET state = 'COMPLETED', result = :result,"
            " ends_at_ms = :now_ms, error = NULL"
            " WHERE key = :key AND token = :token AND state = 'STARTED' RETURNING key",
            {"key": stored_name(key), "token": token, "result": result, "now_ms": now_ms},
        )
        if not rows:
            record = yield from find(key)
            if record is None or (record.token, record.state) != (token, KeyState.COMPLETED):
                raise Undone(answer=False)
    return True


def abandon(keys: tuple[str, ...], token: int, now_ms: int, error: str | None) -> Steps[bool]:
    for key in sorted(set(keys)):
        rows = yield (
            "UPDATE idempotency_record SET state = :state, error = :error, ends_at_ms = :now_ms"
            " WHERE key = :key AND token = :token AND state = 'STARTED' RETURNING key",
            {
                "key": stored_name(key),
                "token": token,
                "state": "FREE" if error is None else "FAILED",
                "error": None if error is None else stored_text(error),
                "now_ms": now_ms,
            },
        )
        if not rows:
            raise Undone(answer=False)
    return True


def find(key: str) -> Steps[KeyRecord | None]:
    rows = yield (
        "SELECT state, token, ends_at_ms, attempts, digest, result, error"
        " FROM idempotency_record WHERE key = :key",
        {"key": stored_name(key)},
    )
    for state, *others in rows:
        return KeyRecord(KeyState(state), *others)
    return None


def start_message(message_id: str, now_ms: int, digest: bytes | None) -> Steps[MessageStatus]:
    rows = yield (
        "INSERT INTO message_status AS s"
        " (message_id, status, attempts, last_updated_ms, payload_digest, error_reason)"
        " VALUES (:message_id, 'STARTED', 1, :now_ms, :digest, NULL)"
        " ON CONFLICT (message_id) DO UPDATE SET attempts = s.attempts + 1,"
        " last_updated_ms = excluded.last_updated_ms,"
        " status = CASE WHEN s.status = 'COMPLETED' THEN s.status ELSE 'STARTED' END,"
        " payload_digest = coalesce(s.payload_digest, excluded.payload_digest)"
        " WHERE s.payload_digest IS NULL OR excluded.payload_digest IS NULL"
        " OR s.payload_digest = excluded.payload_digest"
        " RETURNING status, attempts, last_updated_ms, payload_digest, error_reason",
        {"message_id": stored_name(message_id), "now_ms": now_ms, "digest": digest},
    )
    for status, *others in rows:
        return MessageStatus(Status(status), *others)
    raise PayloadDiffers(message_id)


def complete_message(message_id: str, now_ms: int) -> Steps[bool]:
    rows = yield (
        "UPDATE message_status SET last_updated_ms ="
        " CASE WHEN status = 'COMPLETED' THEN last_updated_ms ELSE :now_ms END,"
        " status = 'COMPLETED', error_reason = NULL"
        " WHERE message_id = :message_id RETURNING message_id",
        {"message_id": stored_name(message_id), "now_ms": now_ms},
    )
    return bool(rows)


def fail_message(message_id: str, reason: str, now_ms: int) -> Steps[bool]:
    rows = yield (
        "UPDATE message_status SET status = 'FAILED', error_reason = :reason,"
        " last_updated_ms = :now_ms"
        " WHERE message_id = :message_id AND status <> 'COMPLETED' RETURNING message_id",
        {"message_id": stored_name(message_id), "reason": stored_text(reason), "now_ms": now_ms},
    )
    return bool(rows)


def find_message(message_id: str) -> Steps[MessageStatus | None]:
    rows = yield (
        "SELECT status, attempts, last_updated_ms, payload_digest, error_reason"
        " FROM message_status WHERE message_id = :message_id",
        {"message_id": stored_name(message_id)},
    )
    for status, *others in rows:
        return MessageStatus(Status(status), *others)
    return None


def record_effect(key: str, effect: SideEffect) -> Steps[bool]:
    rows = yield (
        "INSERT INTO message_side_effects"
        " (effect_key, performed_at_ms, payload_digest, original_message_id, result)"
        " VALUES (:key, :performed_at_ms, :digest, :message_id, :result)"
        " ON CONFLICT (effect_key) DO NOTHING RETURNING effect_key",
        {
            "key": stored_name(key),
            "performed_at_ms": effect.performed_at_ms,
            "digest": effect.payload_digest,
            "message_id": stored_name(effect.original_message_id),
            "result": effect.result,
        },
    )
    if not rows:
        found = yield from find_effect(key)
        if found is not None:
            _check(key, found.payload_digest, effect.payload_digest)
    return bool(rows)


def find_effect(key: str) -> Steps[SideEffect | None]:
    rows = yield (
        "SELECT performed_at_ms, payload_digest, original_message_id, result"
        " FROM message_side_effects WHERE effect_key = :key",
        {"key": stored_name(key)},
    )
    for row in rows:
        return SideEffect(*row)
    return None


def begin_version(entity: str, version: int, now_ms: int) -> Steps[bool]:
    return (yield from _raise_version(entity, version, now_ms, applied=None))


def advance_version(entity: str, version: int, now_ms: int) -> Steps[bool]:
    """Begin and finish in one step: for a transaction that applies the version too."""
    return (yield from _raise_version(entity, version, now_ms, applied=version))


def _raise_version(entity: str, version: int, now_ms: int, *, applied: int | None) -> Steps[bool]:
    rows = yield (
        "INSERT INTO entity_version AS v (entity, begun, applied, updated_at_ms)"
        " VALUES (:entity, :version, :applied, :now_ms)"
        " ON CONFLICT (entity) DO UPDATE SET begun = excluded.begun,"
        " applied = coalesce(excluded.applied, v.applied),"
        " updated_at_ms = excluded.updated_at_ms"
        " WHERE v.begun < excluded.begun"
        " OR (v.begun = excluded.begun AND (v.applied IS NULL OR v.applied < excluded.begun))"
        " RETURNING entity",
        {
            "entity": stored_name(entity),
            "version": version,
            "applied": applied,
            "now_ms": now_ms,
        },
    )
    return bool(rows)


def finish_version(entity: str, version: int, now_ms: int) -> Steps[bool]:
    rows = yield (
        "UPDATE entity_version SET applied = begun, updated_at_ms = :now_ms"
        " WHERE entity = :entity AND begun = :version RETURNING entity",
        {"entity": stored_name(entity), "version": version, "now_ms": now_ms},
    )
    return bool(rows)


def newest_version(entity: str) -> Steps[int | None]:
    rows = yield (
        "SELECT applied FROM entity_version WHERE entity = :entity",
        {"entity": stored_name(entity)},
    )
    newest: int | None = rows[0][0] if rows else None
    return newest


#: Of each kind of record: its table, its key and the time that a purge goes by.
_KINDS = (
    ("idempotency_record", "key", "ends_at_ms"),
    ("message_status", "message_id", "last_updated_ms"),
    ("message_side_effects", "effect_key", "performed_at_ms"),
    ("entity_version", "entity", "updated_at_ms"),
)


def purge(retention_ms: int, now_ms: int, limit: int) -> Steps[int]:
    purged = 0
    for table, key, time in _KINDS:
        # The time is looked at again when the row is deleted: it may have been written since.
        rows = yield (
            f"DELETE FROM {table} WHERE {time} <= :ended_by_ms AND {key} IN"  # noqa: S608
            f" (SELECT {key} FROM {table} WHERE {time} <= :ended_by_ms"
            f" ORDER BY {time}, {key} LIMIT :limit) RETURNING {key}",
            {"ended_by_ms": now_ms - retention_ms, "limit": limit - purged},
        )
        purged += len(rows)
    return purged


def _check(key: str, bound: bytes | None, digest: bytes | None) -> None:
    if bound is not None and digest is not None and bound != digest:
        raise PayloadDiffers(key)
