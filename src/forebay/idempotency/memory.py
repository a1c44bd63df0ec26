"""An idempotency store for tests, and for effects that need not outlive the process."""

from __future__ import annotations

import heapq

from msgspec import Struct

from forebay.idempotency.base import Beginning, Done, InProgress, Started


class _Record(Struct):
    token: int
    #: When the lease is over, or when the key was completed.
    ends_at_ms: int
    completed: bool = False
    result: bytes | None = None


class MemoryIdempotencyStore:
    """An IdempotencyStore in this process's memory."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._last_token = 0

    async def begin(self, key: str, lease_ms: int, now_ms: int) -> Beginning:
        record = self._records.get(key)
        if record is not None:
            if record.completed:
                return Done(record.result)
            if now_ms < record.ends_at_ms:
                return InProgress(record.ends_at_ms)
        self._last_token += 1
        self._records[key] = _Record(self._last_token, now_ms + lease_ms)
        return Started(self._last_token)

    async def extend(self, key: str, token: int, lease_ms: int, now_ms: int) -> bool:
        record = self._held(key, token)
        if record is None or record.completed:
            return False
        record.ends_at_ms = max(record.ends_at_ms, now_ms + lease_ms)
        return True

    async def complete(self, key: str, token: int, result: bytes | None, now_ms: int) -> bool:
        record = self._held(key, token)
        if record is None:
            return False
        if not record.completed:
            self._records[key] = _Record(token, now_ms, completed=True, result=result)
        return True

    async def abandon(self, key: str, token: int) -> bool:
        record = self._held(key, token)
        if record is None or record.completed:
            return False
        del self._records[key]
        return True

    async def purge(self, retention_ms: int, now_ms: int, limit: int) -> int:
        ended_by_ms = now_ms - retention_ms
        old = (
            (record.ends_at_ms, key)
            for key, record in self._records.items()
            if record.ends_at_ms <= ended_by_ms
        )
        oldest = heapq.nsmallest(limit, old)
        for _, key in oldest:
            del self._records[key]
        return len(oldest)

    async def close(self) -> None:
        """Nothing is held open."""

    def _held(self, key: str, token: int) -> _Record | None:
        record = self._records.get(key)
        return record if record is not None and record.token == token else None
