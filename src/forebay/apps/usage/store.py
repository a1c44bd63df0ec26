"""Where events are kept: what every store promises, and what it can say."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from forebay.apps.usage.retention import Span
from forebay.errors import StoreError
from forebay.worker.packs import Pack


class UsageStoreTooNew(StoreError):
    """The usage store's tables are from a newer Forebay. Upgrade this one."""


class NoUsageTables(StoreError):
    """There are no usage tables there, or only an older Forebay's. `forebay usage writer` makes
    them."""


class PackRefused(StoreError):
    """The database is there, and does not take something that was to be written."""


class Written(Struct, frozen=True):
    """What one call of `write` did."""

    #: Events that are in their tables now.
    rows: int = 0
    #: Events that are in `usage_rejects` now.
    rejects: int = 0
    #: Packs and envelopes that were new.
    packs: int = 0
    #: Packs and envelopes that were there already: nothing of them was written again.
    repeated: int = 0
    #: How many of `rejects` there are for each kind of reason.
    reasons: dict[str, int] = {}


class Maintained(Struct, frozen=True):
    """What one call of `maintain` did."""

    #: Partitions that were made and dropped, by name.
    made: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    #: Partitions that are dropped another time: somebody was using their table for long.
    in_use: tuple[str, ...] = ()
    #: Ids of packs that were forgotten.
    ids_forgotten: int = 0


class Partition(Struct, frozen=True):
    """A day of a table."""

    table: str
    #: The partition's own name. SQLite has none: the table's name and the day.
    name: str
    span: Span
    #: Size on the disk with its indexes; None where the store cannot tell.
    size_bytes: int | None = None


class Totals(Struct, frozen=True):
    """What is kept: usage logs, what the counters say of them, rejects and ids of packs."""

    rows: int
    counted: int
    rejects: int
    packs: int


class By(StrEnum):
    """What a report of usage logs groups by."""

    API_KEY = "api_key_id"
    ASSET = "asset"
    SOURCE = "source"
    CACHE_TIER = "cache_tier"


class Latencies(Struct, frozen=True):
    """The response times of a group, in microseconds: nearest ranks, so each was measured."""

    name: str
    rows: int
    p50_us: int
    p90_us: int
    p99_us: int
    p999_us: int
    max_us: int


class Moment(Struct, frozen=True):
    """The response times of the groups that have usage logs in the step that begins at `at_ms`."""

    at_ms: int
    #: Most usage logs first.
    groups: list[Latencies]


class Rate(Struct, frozen=True):
    """How many usage logs were made in the step that begins at `at_ms`."""

    at_ms: int
    rows: int


class KeyUsage(Struct, frozen=True):
    """What a key used, by its counters."""

    api_key_id: str
    events: int
    last_ms: int


class UsageStore(Protocol):
    """Keeps each event once, however often its message is delivered.

    Its methods raise StoreError when the database cannot be used; what was asked for was done
    whole, or not at all, and can be asked for again.
    """

    async def write(self, packs: Sequence[Pack[Any]]) -> Written:
        """Write packs in one transaction. Durable when it returns.

        A pack whose id is there is passed over. Events that cannot be written go to
        `usage_rejects` with the reason. Raises SettingsError for events of a type that has no
        table, and PackRefused when the database is there and refuses one of the packs for a reason
        that could not be foreseen.
        """
        ...

    async def maintain(self, *, days_ahead: int = 7) -> Maintained:
        """Make the partitions of today and of the days ahead, and drop what is kept long enough.

        Any number of processes may do this at once, beside writers.
        """
        ...

    async def partitions(self) -> list[Partition]:
        """All days of all tables, by table and time."""
        ...

    async def totals(self) -> Totals:
        """Rows and counters as of one moment."""
        ...

    async def usage(self, *, limit: int = 100) -> list[KeyUsage]:
        """The keys that used most, by their counters."""
        ...

    async def latencies(
        self, by: By, span: Span | None = None, *, limit: int = 100
    ) -> list[Latencies]:
        """Counts and latencies of the groups with most usage logs, most first."""
        ...

    async def latencies_over_time(
        self, by: By, step_ms: int, span: Span | None = None
    ) -> list[Moment]:
        """Counts and latencies of all groups in each step of time that has any usage logs.

        For what has few groups: those of a step are as many as there are.
        """
        ...

    async def rates(self, step_ms: int, span: Span | None = None) -> list[Rate]:
        """How many usage logs were made in each step of time that has any."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the database. Closing twice does nothing."""
        ...
