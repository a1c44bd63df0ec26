"""Only newer versions are applied, one at a time, whatever the order they come in."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.idempotency import (
    Applied,
    Attempt,
    Elsewhere,
    LeaseLost,
    MemoryIdempotencyStore,
    Stale,
    VersionError,
    Versions,
)
from forebay.idempotency.versions import version_number
from tests.runtime.virtual_time import LoopClock, run


class Account:
    """State in another system, which takes any version that it is given."""

    def __init__(self, *, takes_s: float = 0.0) -> None:
        self.store = MemoryIdempotencyStore()
        self.versions = Versions(self.store, clock=LoopClock(), wait_ms=10_000)
        self.applied: list[int] = []
        self._takes_s = takes_s

    async def take(self, version: int) -> object:
        async def apply(attempt: Attempt) -> None:
            await asyncio.sleep(self._takes_s)
            self.applied.append(version)

        return await self.versions.apply_if_newer("acct-1", version, apply)


def test_a_plain_function_applies_a_version_as_an_async_one_does() -> None:
    async def scenario() -> None:
        account = Account()
        for expected in (Applied(), Stale()):
            outcome = await account.versions.apply_if_newer(
                "acct-1", 1, lambda attempt: account.applied.append(attempt.number)
            )
            assert outcome == expected
        assert account.applied == [1]

    run(scenario())


@given(st.permutations(range(1, 8)))
def test_whatever_the_order_the_applied_versions_rise_and_the_newest_stays(
    order: list[int],
) -> None:
    async def scenario() -> None:
        account = Account()
        outcomes = [await account.take(version) for version in (*order, *order)]
        assert account.applied == sorted(set(account.applied))
        assert account.applied[-1] == 7
        assert outcomes.count(Applied()) == len(account.applied)
        assert outcomes[7:] == [Stale()] * 7

    run(scenario())


def test_many_at_once_are_applied_one_after_the_other() -> None:
    """Weakness 3 of document 001: its log was written outside of the lock, out of order."""

    async def scenario() -> None:
        account = Account(takes_s=0.01)
        order = list(range(1, 21))
        random.Random(1).shuffle(order)
        outcomes = await asyncio.gather(*(account.take(version) for version in order))
        assert account.applied == sorted(set(account.applied))
        assert account.applied[-1] == 20
        assert set(outcomes) == {Applied(), Stale()}

    run(scenario())


def test_entities_do_not_wait_for_each_other() -> None:
    async def scenario() -> None:
        versions = Versions(MemoryIdempotencyStore(), clock=LoopClock())

        async def slow(attempt: Attempt) -> None:
            await asyncio.sleep(5)

        began_ms = LoopClock().monotonic_ms()
        await asyncio.gather(*(versions.apply_if_newer(f"e{n}", 1, slow) for n in range(5)))
        assert LoopClock().monotonic_ms() - began_ms == 5_000

    run(scenario())


def test_who_waits_for_too_long_comes_back_later() -> None:
    async def scenario() -> None:
        account = Account(takes_s=60)
        account.versions = Versions(account.store, clock=LoopClock(), wait_ms=100)
        first = asyncio.create_task(account.take(1))
        await asyncio.sleep(1)
        outcome = await account.take(2)
        assert isinstance(outcome, Elsewhere)
        assert 0 < outcome.remaining_s <= 10
        assert await first == Applied()

    run(scenario())


def test_a_version_that_was_begun_before_a_crash_makes_older_ones_stale_and_may_come_again() -> (
    None
):
    async def scenario() -> None:
        account = Account()
        await account.take(3)
        # As a process does that applies version 5 and dies before it can say so.
        await account.store.begin_version("acct-1", 5, LoopClock().wall_ms())
        assert await account.take(4) == Stale()
        assert await account.take(5) == Applied()
        assert account.applied == [3, 5]

    run(scenario())


def test_a_version_that_failed_may_be_tried_again() -> None:
    async def scenario() -> None:
        account = Account()

        async def fails(attempt: Attempt) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await account.versions.apply_if_newer("acct-1", 5, fails)
        assert await account.take(5) == Applied()

    run(scenario())


def test_who_was_taken_over_by_a_newer_version_is_told() -> None:
    async def scenario() -> None:
        account = Account()

        async def is_taken_over(attempt: Attempt) -> None:
            # As if this process had stood still for longer than its lease.
            await account.store.begin_version("acct-1", 6, LoopClock().wall_ms())

        with pytest.raises(LeaseLost, match="Version 5"):
            await account.versions.apply_if_newer("acct-1", 5, is_taken_over)

    run(scenario())


@pytest.mark.parametrize(
    ("version", "number"),
    [
        (7, 7),
        (-(2**63), -(2**63)),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59Z", -1_000_000),
    ],
)
def test_a_version_is_a_number_or_a_time(version: int | datetime | str, number: int) -> None:
    assert version_number(version) == number


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("7", "ISO 8601"),
        ("2026-11-22T08:26:00", "no time zone"),
        (datetime(2026, 11, 22), "no time zone"),  # noqa: DTZ001
        (2**63, "64 bits"),
        (True, "bool"),
        (1.5, "float"),
        (None, "NoneType"),
    ],
)
def test_what_cannot_be_compared_is_refused(version: object, told: str) -> None:
    with pytest.raises(VersionError, match=told):
        version_number(version)  # type: ignore[arg-type]
