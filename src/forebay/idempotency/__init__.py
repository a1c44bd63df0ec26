"""Doing each side effect once: leases with fencing tokens, and where they are kept.

The store in PostgreSQL is in `forebay.idempotency.postgres`, since it needs psycopg.
"""

from forebay.idempotency.base import (
    Beginning,
    Done,
    IdempotencyStore,
    IdempotencyStoreError,
    IdempotencyStoreTooNew,
    InProgress,
    KeyRecord,
    KeyState,
    PayloadDiffers,
    Started,
)
from forebay.idempotency.guard import AlreadyDone, Guard, NotCommitted, Performed
from forebay.idempotency.holding import Attempt, Effect, Elsewhere, LeaseLost
from forebay.idempotency.keys import (
    KeyFieldMissing,
    business_key,
    delivery_key,
    payload_digest,
)
from forebay.idempotency.memory import MemoryIdempotencyStore
from forebay.idempotency.middleware import current_attempt, once_middleware
from forebay.idempotency.outside import CheckBeforeDoing
from forebay.idempotency.records import (
    EntityVersions,
    MessageRecords,
    MessageStatus,
    SideEffect,
    SideEffects,
    Status,
)
from forebay.idempotency.sqlite import SqliteIdempotencyStore
from forebay.idempotency.versions import Applied, Stale, VersionError, Versions
from forebay.idempotency.within import (
    NotInTransaction,
    advance_in,
    complete_in,
    record_effect_in,
)

__all__ = [
    "AlreadyDone",
    "Applied",
    "Attempt",
    "Beginning",
    "CheckBeforeDoing",
    "Done",
    "Effect",
    "Elsewhere",
    "EntityVersions",
    "Guard",
    "IdempotencyStore",
    "IdempotencyStoreError",
    "IdempotencyStoreTooNew",
    "InProgress",
    "KeyFieldMissing",
    "KeyRecord",
    "KeyState",
    "LeaseLost",
    "MemoryIdempotencyStore",
    "MessageRecords",
    "MessageStatus",
    "NotCommitted",
    "NotInTransaction",
    "PayloadDiffers",
    "Performed",
    "SideEffect",
    "SideEffects",
    "SqliteIdempotencyStore",
    "Stale",
    "Started",
    "Status",
    "VersionError",
    "Versions",
    "advance_in",
    "business_key",
    "complete_in",
    "current_attempt",
    "delivery_key",
    "once_middleware",
    "payload_digest",
    "record_effect_in",
]
