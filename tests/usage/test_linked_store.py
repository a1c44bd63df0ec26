"""A database that goes away and comes back, perhaps with another login."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from forebay.apps.usage.linked_store import LinkedStore
from forebay.apps.usage.store import PackRefused, UsageStoreTooNew, Written
from forebay.clock import ManualClock
from forebay.errors import SettingsError, StoreError
from forebay.worker.packs import Pack
from tests.usage.events import LOG, pack

PACKS = [pack("p-1", LOG)]


class Database:
    """Is reached by one address, unless it is away."""

    def __init__(self) -> None:
        self.address = "postgresql://writer:first@db/usage"
        self.away: Exception | None = None
        self.opened: list[str] = []
        self.closed = 0
        self.writes = 0

    async def open(self, address: str) -> Any:
        self.opened.append(address)
        self._use(address)
        return Session(self, address)

    def _use(self, address: str) -> None:
        if self.away is not None:
            raise self.away
        if address != self.address:
            raise StoreError("The usage database could not be used: password is wrong.")


class Session:
    def __init__(self, database: Database, address: str) -> None:
        self._database = database
        self._address = address

    async def write(self, packs: Sequence[Pack[Any]]) -> Written:
        self._database._use(self._address)
        self._database.writes += 1
        return Written(rows=len(packs))

    async def close(self) -> None:
        self._database.closed += 1


class Address:
    """What a secret says now."""

    def __init__(self, database: Database) -> None:
        self.said = database.address
        self.reads = 0
        self.trouble: Exception | None = None

    async def read(self) -> str:
        self.reads += 1
        if self.trouble is not None:
            raise self.trouble
        return self.said


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def address(database: Database) -> Address:
    return Address(database)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def linked(database: Database, address: Address, clock: ManualClock) -> LinkedStore:
    # The longest pause is drawn each time.
    return LinkedStore(address, database.open, clock=clock, entropy=lambda n: b"\xff" * n)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def pass_time(clock: ManualClock, seconds: int) -> None:
    for _ in range(seconds * 2):
        clock.advance(500)
        await settle()


async def test_a_write_waits_for_the_database_and_says_so_once(
    linked: LinkedStore, database: Database, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await linked.open()
    database.away = StoreError("The usage database could not be used: connection refused.")
    writes = [asyncio.create_task(linked.write(PACKS)) for _ in range(3)]
    await pass_time(clock, 60)
    assert linked.free(0) == 0
    assert linked.reason == "The usage database could not be used: connection refused."
    assert linked.retries > 15
    database.away = None
    await pass_time(clock, 10)
    assert [await write for write in writes] == [Written(rows=1)] * 3
    assert linked.free(0) is None
    away, back = caplog.messages
    assert away.startswith("The usage database is away: The usage database could not be used: conn")
    assert back.startswith("The usage database is back after 6")


async def test_a_write_that_is_cancelled_holds_back_nothing(
    linked: LinkedStore, database: Database, clock: ManualClock
) -> None:
    database.away = StoreError("away")
    write = asyncio.create_task(linked.write(PACKS))
    await settle()
    assert linked.free(0) == 0
    write.cancel()
    await settle()
    assert linked.free(0) is None


async def test_a_rotated_password_is_read_anew(
    linked: LinkedStore, database: Database, address: Address, clock: ManualClock
) -> None:
    assert await linked.write(PACKS) == Written(rows=1)
    database.address = address.said = "postgresql://writer:second@db/usage"
    write = asyncio.create_task(linked.write(PACKS))
    await pass_time(clock, 2)
    assert await write == Written(rows=1)
    assert database.opened == [
        "postgresql://writer:first@db/usage",
        "postgresql://writer:second@db/usage",
    ]
    assert database.closed == 1


async def test_a_password_that_is_rotated_while_nothing_is_open_is_read_anew(
    linked: LinkedStore, database: Database, address: Address, clock: ManualClock
) -> None:
    database.address = "postgresql://writer:second@db/usage"
    write = asyncio.create_task(linked.write(PACKS))
    await pass_time(clock, 5)
    address.said = database.address
    await pass_time(clock, 10)
    assert await write == Written(rows=1)


async def test_a_store_that_fails_keeps_its_connections_when_its_address_is_the_same(
    linked: LinkedStore, database: Database, clock: ManualClock
) -> None:
    await linked.open()
    database.away = StoreError("away")
    write = asyncio.create_task(linked.write(PACKS))
    await pass_time(clock, 5)
    database.away = None
    await pass_time(clock, 10)
    await write
    assert (len(database.opened), database.closed) == (1, 0)


@pytest.mark.parametrize("trouble", [StoreError("no answer"), SettingsError("no such secret")])
async def test_a_secret_that_cannot_be_read_for_a_while_loses_nothing(
    linked: LinkedStore,
    database: Database,
    address: Address,
    clock: ManualClock,
    trouble: Exception,
) -> None:
    await linked.open()
    database.away, address.trouble = StoreError("away"), trouble
    write = asyncio.create_task(linked.write(PACKS))
    await pass_time(clock, 5)
    database.away = None
    await pass_time(clock, 10)
    assert await write == Written(rows=1)


async def test_what_is_refused_is_not_waited_for(linked: LinkedStore, database: Database) -> None:
    await linked.open()
    database.away = PackRefused("too odd")
    with pytest.raises(PackRefused):
        await linked.write(PACKS)
    assert linked.free(0) is None


async def test_it_is_opened_in_the_background_when_it_is_away_at_the_start(
    linked: LinkedStore, database: Database, clock: ManualClock
) -> None:
    database.away = StoreError("away")
    async with linked.serving():
        await settle()
        assert linked.free(0) == 0
        database.away = None
        await pass_time(clock, 10)
        assert linked.free(0) is None
    assert database.closed == 1


@pytest.mark.parametrize("error", [SettingsError("psycopg is missing"), UsageStoreTooNew()])
async def test_what_no_waiting_mends_is_said_at_the_start(
    linked: LinkedStore, database: Database, error: Exception
) -> None:
    database.away = error
    with pytest.raises(SettingsError):
        async with linked.serving():
            raise AssertionError


async def test_with_a_bound_it_gives_up(
    database: Database, address: Address, clock: ManualClock
) -> None:
    linked = LinkedStore(address, database.open, tries_max=2, clock=clock)
    database.away = StoreError("away")
    write = asyncio.create_task(linked.write(PACKS))
    await pass_time(clock, 3)
    with pytest.raises(StoreError, match="away"):
        await write
    assert len(database.opened) == 2
    assert linked.free(0) is None
