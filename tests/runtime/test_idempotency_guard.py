"""A side effect happens once, and its lease lasts as long as it does."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.idempotency import (
    AlreadyDone,
    Attempt,
    Elsewhere,
    Guard,
    IdempotencyStoreError,
    LeaseLost,
    MemoryIdempotencyStore,
    Performed,
    business_key,
    delivery_key,
)
from tests.runtime.virtual_time import LoopClock, run


class World:
    """A guard over a store that may be out of order, and effects that are counted."""

    def __init__(self, store: MemoryIdempotencyStore | None = None) -> None:
        self.store = store or MemoryIdempotencyStore()
        self.guard = Guard(self.store, clock=LoopClock(), lease_ms=30_000)
        self.performed: list[str] = []

    async def quick(self, attempt: Attempt) -> bytes | None:
        self.performed.append(attempt.key)
        return b"receipt"

    async def slow(self, attempt: Attempt) -> bytes | None:
        await asyncio.sleep(100)
        return await self.quick(attempt)


def test_the_first_time_performs_and_every_later_time_gives_its_result() -> None:
    async def scenario() -> None:
        world = World()
        assert await world.guard.run("k", world.quick) == Performed(b"receipt")
        assert await world.guard.run("k", world.quick) == AlreadyDone(b"receipt")
        assert await world.guard.run("another", world.quick) == Performed(b"receipt")
        assert world.performed == ["k", "another"]

    run(scenario())


def test_a_second_caller_learns_how_long_the_first_may_still_take() -> None:
    async def scenario() -> None:
        world = World()
        first = asyncio.create_task(world.guard.run("k", world.slow))
        await asyncio.sleep(4)
        assert await world.guard.run("k", world.quick) == Elsewhere(26.0)
        assert await first == Performed(b"receipt")
        assert world.performed == ["k"]

    run(scenario())


def test_a_lease_is_extended_for_as_long_as_its_effect_runs() -> None:
    async def scenario() -> None:
        world = World()
        first = asyncio.create_task(world.guard.run("k", world.slow))
        for _ in range(9):
            await asyncio.sleep(11)
            assert isinstance(await world.guard.run("k", world.quick), Elsewhere)
        assert await first == Performed(b"receipt")

    run(scenario())


def test_a_failed_effect_leaves_the_key_free_and_its_error_goes_on() -> None:
    async def scenario() -> None:
        world = World()

        async def fails(attempt: Attempt) -> bytes | None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await world.guard.run("k", fails)
        assert await world.guard.run("k", world.quick) == Performed(b"receipt")

    run(scenario())


def test_a_cancelled_effect_leaves_the_key_free() -> None:
    async def scenario() -> None:
        world = World()
        running = asyncio.create_task(world.guard.run("k", world.slow))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await world.guard.run("k", world.quick) == Performed(b"receipt")

    run(scenario())


def test_an_effect_that_was_taken_over_is_told_and_cannot_store_its_result() -> None:
    async def scenario() -> None:
        world = World()
        told = []

        async def is_taken_over(attempt: Attempt) -> bytes | None:
            # As if this process had stood still for longer than its lease.
            await world.store.begin("k", 30_000, LoopClock().wall_ms() + 30_000)
            await asyncio.sleep(15)
            told.append(attempt.lease_lost)
            return b"stale"

        with pytest.raises(LeaseLost, match="'k'"):
            await world.guard.run("k", is_taken_over)
        assert told == [True]

    run(scenario())


class UnsteadyStore(MemoryIdempotencyStore):
    """Out of order while told so."""

    broken = False

    async def extend(self, key: str, token: int, lease_ms: int, now_ms: int) -> bool:
        self._check()
        return await super().extend(key, token, lease_ms, now_ms)

    async def abandon(self, key: str, token: int) -> bool:
        self._check()
        return await super().abandon(key, token)

    async def complete(self, key: str, token: int, result: bytes | None, now_ms: int) -> bool:
        self._check()
        return await super().complete(key, token, result, now_ms)

    def _check(self) -> None:
        if self.broken:
            raise IdempotencyStoreError


def test_an_extension_that_fails_once_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store = UnsteadyStore()
        world = World(store)
        running = asyncio.create_task(world.guard.run("k", world.slow))
        await asyncio.sleep(5)
        store.broken = True
        await asyncio.sleep(10)
        store.broken = False
        assert await running == Performed(b"receipt")

    run(scenario())
    assert caplog.text.count("was not extended") == 1


def test_an_effect_s_own_error_comes_before_that_of_the_store(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        store = UnsteadyStore()
        world = World(store)

        async def fails(attempt: Attempt) -> bytes | None:
            store.broken = True
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await world.guard.run("k", fails)
        store.broken = False
        assert isinstance(await world.guard.run("k", world.quick), Elsewhere)
        await asyncio.sleep(30)
        assert await world.guard.run("k", world.quick) == Performed(b"receipt")

    run(scenario())
    assert "was not given back" in caplog.text


def test_an_effect_that_could_not_be_recorded_keeps_its_lease() -> None:
    async def scenario() -> None:
        store = UnsteadyStore()
        world = World(store)

        async def works(attempt: Attempt) -> bytes | None:
            store.broken = True
            return await world.quick(attempt)

        with pytest.raises(IdempotencyStoreError):
            await world.guard.run("k", works)
        assert isinstance(await world.guard.run("k", world.quick), Elsewhere)

    run(scenario())


def test_old_keys_are_forgotten_and_may_then_happen_again() -> None:
    async def scenario() -> None:
        world = World()
        await world.guard.run("k", world.quick)
        await asyncio.sleep(60)
        assert await world.guard.purge(retention_ms=60_001) == 0
        assert await world.guard.purge(retention_ms=60_000) == 1
        assert await world.guard.run("k", world.quick) == Performed(b"receipt")

    run(scenario())


def test_a_charge_and_a_refund_of_one_order_are_two_things() -> None:
    assert business_key("charge", "order-7") != business_key("refund", "order-7")
    assert delivery_key("order-7") != business_key("delivery", "order-7")


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_facts_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (business_key(*one) == business_key(*other)) == (one == other)
