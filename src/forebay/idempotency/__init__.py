"""Doing each side effect once: leases with fencing tokens, and where they are kept."""

from forebay.idempotency.base import (
    Beginning,
    Done,
    IdempotencyStore,
    IdempotencyStoreError,
    InProgress,
    Started,
)
from forebay.idempotency.guard import (
    AlreadyDone,
    Attempt,
    Elsewhere,
    Guard,
    LeaseLost,
    Performed,
    business_key,
    delivery_key,
)
from forebay.idempotency.memory import MemoryIdempotencyStore
from forebay.idempotency.sqlite import SqliteIdempotencyStore

__all__ = [
    "AlreadyDone",
    "Attempt",
    "Beginning",
    "Done",
    "Elsewhere",
    "Guard",
    "IdempotencyStore",
    "IdempotencyStoreError",
    "InProgress",
    "LeaseLost",
    "MemoryIdempotencyStore",
    "Performed",
    "SqliteIdempotencyStore",
    "Started",
    "business_key",
    "delivery_key",
]
