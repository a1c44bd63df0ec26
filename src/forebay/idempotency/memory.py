"""An idempotency store for tests, and for effects that need not outlive the process."""

from __future__ import annotations

import heapq
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from forebay.clock import Clock
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


class _Version(Struct, frozen=True):
    begun: int
    applied: int | None
    updated_at_ms: int


class MemoryIdempotencyStore:
    """Keys, messages, effects and versions in this process's memory."""

    def __init__(self) -> None:
        self._keys: dict[str, KeyRecord] = {}
        self._messages: dict[str, MessageStatus] = {}
        self._effects: dict[str, SideEffect] = {}
        self._versions: dict[str, _Version] = {}
        self._last_token = 0
        self._ahead_ms: int | None = None

    async def time_ms(self, clock: Clock) -> int:
        if self._ahead_ms is None:
            self._ahead_ms = clock.wall_ms() - clock.monotonic_ms()
        return clock.monotonic_ms() + self._ahead_ms

    async def begin(
        self, keys: tuple[str, ...], lease_ms: int, now_ms: int, digest: bytes | None = None
    ) -> Beginning:
        found = [(key, self._keys.get(key)) for key in keys]
        for key, record in found:
            if record is not None:
                _check(key, record.digest, digest)
        records = [record for _, record in found if record is not None]
        for record in records:
            if record.state is KeyState.COMPLETED:
                return Done(record.result)
        leased = [
            record.ends_at_ms
            for record in records
            if record.state is KeyState.STARTED and now_ms < record.ends_at_ms
        ]
        if leased:
            return InProgress(max(leased))
        self._last_token += 1
        attempts = 1 + max((record.attempts for record in records), default=0)
        for key, record in found:
            self._keys[key] = KeyRecord(
                state=KeyState.STARTED,
                token=self._last_token,
                ends_at_ms=now_ms + lease_ms,
                attempts=1 if record is None else record.attempts + 1,
                digest=digest if record is None or record.digest is None else record.digest,
                result=None,
                error=None,
            )
        return Started(self._last_token, attempts)

    async def extend(self, keys: tuple[str, ...], token: int, lease_ms: int, now_ms: int) -> bool:
        held = self._held(keys, token, KeyState.STARTED)
        for key, record in held.items():
            until_ms = max(record.ends_at_ms, now_ms + lease_ms)
            self._keys[key] = replace(record, ends_at_ms=until_ms)
        return bool(held)

    async def complete(
        self, keys: tuple[str, ...], token: int, result: bytes | None, now_ms: int
    ) -> bool:
        held = self._held(keys, token, KeyState.STARTED)
        for key, record in held.items():
            self._keys[key] = replace(
                record, state=KeyState.COMPLETED, result=result, ends_at_ms=now_ms, error=None
            )
        return bool(held or self._held(keys, token, KeyState.COMPLETED))

    async def abandon(
        self, keys: tuple[str, ...], token: int, now_ms: int, error: str | None = None
    ) -> bool:
        held = self._held(keys, token, KeyState.STARTED)
        state = KeyState.FREE if error is None else KeyState.FAILED
        for key, record in held.items():
            self._keys[key] = replace(record, state=state, ends_at_ms=now_ms, error=error)
        return bool(held)

    async def find(self, key: str) -> KeyRecord | None:
        return self._keys.get(key)

    async def start_message(
        self, message_id: str, now_ms: int, digest: bytes | None = None
    ) -> MessageStatus:
        found = self._messages.get(message_id)
        if found is None:
            started = MessageStatus(Status.STARTED, 1, now_ms, digest)
        else:
            _check(message_id, found.payload_digest, digest)
            started = replace(
                found,
                status=found.status if found.status is Status.COMPLETED else Status.STARTED,
                attempts=found.attempts + 1,
                last_updated_ms=now_ms,
                payload_digest=found.payload_digest or digest,
            )
        self._messages[message_id] = started
        return started

    async def complete_message(self, message_id: str, now_ms: int) -> bool:
        found = self._messages.get(message_id)
        if found is not None and found.status is not Status.COMPLETED:
            self._messages[message_id] = replace(
                found, status=Status.COMPLETED, last_updated_ms=now_ms, error_reason=None
            )
        return found is not None

    async def fail_message(self, message_id: str, reason: str, now_ms: int) -> bool:
        found = self._messages.get(message_id)
        if found is None or found.status is Status.COMPLETED:
            return False
        self._messages[message_id] = replace(
            found, status=Status.FAILED, last_updated_ms=now_ms, error_reason=reason
        )
        return True

    async def find_message(self, message_id: str) -> MessageStatus | None:
        return self._messages.get(message_id)

    async def record_effect(self, key: str, effect: SideEffect) -> bool:
        found = self._effects.setdefault(key, effect)
        _check(key, found.payload_digest, effect.payload_digest)
        return found is effect

    async def find_effect(self, key: str) -> SideEffect | None:
        return self._effects.get(key)

    async def begin_version(self, entity: str, version: int, now_ms: int) -> bool:
        found = self._versions.get(entity)
        applied = None if found is None else found.applied
        if found is not None and (
            version < found.begun or (applied is not None and version <= applied)
        ):
            return False
        self._versions[entity] = _Version(version, applied, now_ms)
        return True

    async def finish_version(self, entity: str, version: int, now_ms: int) -> bool:
        found = self._versions.get(entity)
        if found is None or found.begun != version:
            return False
        self._versions[entity] = _Version(version, version, now_ms)
        return True

    async def newest_version(self, entity: str) -> int | None:
        found = self._versions.get(entity)
        return None if found is None else found.applied

    async def purge(self, retention_ms: int, now_ms: int, limit: int) -> int:
        kinds: list[tuple[dict[str, Any], str]] = [
            (self._keys, "ends_at_ms"),
            (self._messages, "last_updated_ms"),
            (self._effects, "performed_at_ms"),
            (self._versions, "updated_at_ms"),
        ]
        purged = 0
        for records, time in kinds:
            old = (
                (ended_ms, name)
                for name, record in records.items()
                if (ended_ms := getattr(record, time)) <= now_ms - retention_ms
            )
            for _, name in heapq.nsmallest(limit - purged, old):
                del records[name]
                purged += 1
        return purged

    async def close(self) -> None:
        """Nothing is held open."""

    def _held(self, keys: tuple[str, ...], token: int, state: KeyState) -> dict[str, KeyRecord]:
        """The records of the keys if all of them are the token's and in that state."""
        held = {
            key: record
            for key in keys
            if (record := self._keys.get(key)) and (record.token, record.state) == (token, state)
        }
        return held if len(held) == len(set(keys)) else {}


def _check(key: str, bound: bytes | None, digest: bytes | None) -> None:
    if bound is not None and digest is not None and bound != digest:
        raise PayloadDiffers(key)
