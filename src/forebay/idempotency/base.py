"""What every idempotency store promises."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from msgspec import Struct

from forebay.errors import StoreError


class IdempotencyStoreError(StoreError):
    """The idempotency store could not be read or written."""


class Started(Struct, frozen=True):
    """The key is ours: do the work, then complete or abandon it with this token."""

    token: int


class InProgress(Struct, frozen=True):
    """Somebody else has the key, at least until this time unless they end sooner."""

    until_ms: int


class Done(Struct, frozen=True):
    """The work of this key has been done, with this result."""

    result: bytes | None


#: What `begin` may find.
Beginning: TypeAlias = Started | InProgress | Done


class IdempotencyStore(Protocol):
    """Keys, each free, leased or done.

    *Atomicity.* Each call is one step that happens whole or not at all. Among any number of callers
    at the same time, in any number of processes that share the store, exactly one begins a free
    key.

    *Time.* `now_ms` is wall time in milliseconds, because processes and restarts share it. A lease
    that was begun at t for `lease_ms` is over from t + `lease_ms` on: at exactly that time the key
    is free.

    *Fencing.* The tokens of a key rise strictly for as long as the store exists, over abandoned and
    purged records too. The token decides and not the clock: `extend`, `complete` and `abandon` act
    for the token of the latest `begin`, even after its lease is over, until somebody begins the key
    again. From then on they return False for the older token and change nothing. So whoever wrote
    with a token can be told from whoever took over.

    *Errors.* Every call raises IdempotencyStoreError when the store cannot be read or written.
    After that, and after cancelling a call, it is open whether the step was taken.
    """

    async def begin(self, key: str, lease_ms: int, now_ms: int) -> Beginning:
        """Lease the key if it is free."""
        ...

    async def extend(self, key: str, token: int, lease_ms: int, now_ms: int) -> bool:
        """Let the lease last until at least `lease_ms` from now. False for a done key too."""
        ...

    async def complete(self, key: str, token: int, result: bytes | None, now_ms: int) -> bool:
        """Make the key done, once and for all.

        Completing again with the same token returns True, and the first result stays.
        """
        ...

    async def abandon(self, key: str, token: int) -> bool:
        """Make the key free again. False for a done key too."""
        ...

    async def purge(self, retention_ms: int, now_ms: int, limit: int) -> int:
        """Forget at most `limit` records, the oldest first, and return how many.

        A record goes when its key was completed, or its lease was over, `retention_ms` ago or
        earlier.
        """
        ...

    async def close(self) -> None:
        """Let go of what the store holds open. Closing twice does nothing."""
        ...
