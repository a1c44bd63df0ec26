"""What every idempotency store promises of its keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, TypeAlias

from msgspec import Struct

from forebay.clock import Clock
from forebay.errors import StoreError
from forebay.worker.outcomes import Reject


class IdempotencyStoreError(StoreError):
    """The idempotency store could not be read or written."""


class IdempotencyStoreTooNew(IdempotencyStoreError):
    """The idempotency store is from a newer Forebay. Upgrade, or use another store."""


class PayloadDiffers(Reject):
    """The same key came with another payload than before. A worker rejects such a message."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The key {key!r} came with another payload than before: two different things have one"
            " key, or one was changed on its way. Nothing was done for it."
        )


class Started(Struct, frozen=True):
    """The keys are ours: do the work, then complete or abandon it with this token."""

    token: int
    #: How often the work was begun, this time included.
    attempts: int = 1


class InProgress(Struct, frozen=True):
    """Somebody else has a key, at least until this time of the store's unless they end sooner."""

    until_ms: int


class Done(Struct, frozen=True):
    """The work of a key has been done, with this result."""

    result: bytes | None


#: What `begin` may find.
Beginning: TypeAlias = Started | InProgress | Done


class KeyState(StrEnum):
    """What became of a key's latest attempt. All but COMPLETED may be begun again."""

    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    #: Given back without an error.
    FREE = "FREE"


class KeyRecord(Struct, frozen=True):
    """What is kept of a key."""

    state: KeyState
    token: int
    #: When the lease is over, or when the key was completed or given back.
    ends_at_ms: int
    attempts: int
    digest: bytes | None
    result: bytes | None
    #: Why the latest attempt failed.
    error: str | None


class IdempotencyStore(Protocol):
    """Keys, each free, leased or done.

    Several keys may name one piece of work: its delivery and its business fact. They are begun,
    completed and abandoned together or not at all.

    *Atomicity.* Each call is one step that happens whole or not at all. Among any number of callers
    at the same time, in any number of processes that share the store, exactly one begins a free
    key.

    *Time.* `now_ms` is the store's own time in milliseconds, `time_ms`, because processes, machines
    and restarts share it and their clocks may differ. A lease that was begun at t for `lease_ms` is
    over from t + `lease_ms` on: at exactly that time the key is free.

    *Fencing.* The tokens of a key rise strictly for as long as the store exists, over abandoned and
    purged records too. The token decides and not the clock: `extend`, `complete` and `abandon` act
    for the token of the latest `begin`, even after its lease is over, until somebody begins the key
    again. From then on they return False for the older token and change nothing. So whoever wrote
    with a token can be told from whoever took over.

    *Digest.* A key is bound to the first digest it is begun with. Beginning it with another one
    raises PayloadDiffers and changes nothing; None compares with nothing.

    *Errors.* Every call raises IdempotencyStoreError when the store cannot be read or written.
    After that, and after cancelling a call, it is open whether the step was taken.
    """

    async def time_ms(self, clock: Clock) -> int:
        """The time that leases go by, in milliseconds since the Unix epoch.

        Whoever shares the store gets the same, whatever their wall clocks show, and it does not
        step while they work. `clock` is the caller's; a store without a clock of its own goes by
        its monotonic time.
        """
        ...

    async def begin(
        self, keys: tuple[str, ...], lease_ms: int, now_ms: int, digest: bytes | None = None
    ) -> Beginning:
        """Lease the keys if all are free. One that is done answers for all."""
        ...

    async def extend(self, keys: tuple[str, ...], token: int, lease_ms: int, now_ms: int) -> bool:
        """Let the lease last until at least `lease_ms` from now. False for done keys too."""
        ...

    async def complete(
        self, keys: tuple[str, ...], token: int, result: bytes | None, now_ms: int
    ) -> bool:
        """Make the keys done, once and for all.

        Completing again with the same token returns True, and the first result stays.
        """
        ...

    async def abandon(
        self, keys: tuple[str, ...], token: int, now_ms: int, error: str | None = None
    ) -> bool:
        """Make the keys free again: FAILED with an error, FREE without. False for done keys too."""
        ...

    async def find(self, key: str) -> KeyRecord | None:
        """What is kept of a key."""
        ...

    async def purge(self, retention_ms: int, now_ms: int, limit: int) -> int:
        """Forget at most `limit` records, the oldest of each kind first, and return how many.

        A key goes when it was completed or given back, or its lease was over, `retention_ms` ago or
        earlier; a record of a message, an effect or a version when it was last written then.
        """
        ...

    async def close(self) -> None:
        """Let go of what the store holds open. Closing twice does nothing."""
        ...
