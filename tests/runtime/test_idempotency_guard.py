"""A side effect happens once, and its lease lasts as long as it does."""

from __future__ import annotations

import asyncio
from types import NoneType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.clock import ManualClock
from forebay.errors import SettingsError
from forebay.idempotency import (
    AlreadyDone,
    Attempt,
    Beginning,
    Elsewhere,
    Guard,
    IdempotencyStoreError,
    KeyState,
    LeaseLost,
    MemoryIdempotencyStore,
    PayloadDiffers,
    Performed,
    SqliteIdempotencyStore,
    business_key,
    delivery_key,
)
from forebay.idempotency.holding import LEASE_MS
from tests.runtime.virtual_time import LoopClock, run


class World:
    """A guard over a store that may be out of order, and effects that are counted."""

    def __init__(self, store: MemoryIdempotencyStore | None = None) -> None:
        self.store = store or MemoryIdempotencyStore()
        self.guard = Guard(self.store, clock=LoopClock(), lease_ms=30_000, wait_ms=0)
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
            await world.store.begin(("k",), 30_000, LoopClock().wall_ms() + 30_000)
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

    async def extend(self, keys: tuple[str, ...], token: int, lease_ms: int, now_ms: int) -> bool:
        self._check()
        return await super().extend(keys, token, lease_ms, now_ms)

    async def abandon(
        self, keys: tuple[str, ...], token: int, now_ms: int, error: str | None = None
    ) -> bool:
        self._check()
        return await super().abandon(keys, token, now_ms, error)

    async def complete(
        self, keys: tuple[str, ...], token: int, result: bytes | None, now_ms: int
    ) -> bool:
        self._check()
        return await super().complete(keys, token, result, now_ms)

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


def test_a_duplicate_of_a_quick_effect_waits_in_place_and_gets_its_result() -> None:
    async def scenario() -> None:
        world = World()
        guard = Guard(world.store, clock=LoopClock(), wait_ms=500)

        async def takes_a_moment(attempt: Attempt) -> bytes | None:
            await asyncio.sleep(0.004)
            return await world.quick(attempt)

        began_ms = LoopClock().monotonic_ms()
        outcomes = await asyncio.gather(*(guard.run("k", takes_a_moment) for _ in range(5)))
        assert outcomes == [Performed(b"receipt")] + 4 * [AlreadyDone(b"receipt")]
        assert LoopClock().monotonic_ms() - began_ms <= 20
        assert world.performed == ["k"]

    run(scenario())


def test_a_duplicate_of_a_slow_effect_waits_for_no_longer_than_told_and_looks_seldom() -> None:
    async def scenario() -> None:
        looks: list[int] = []

        class Watched(MemoryIdempotencyStore):
            async def begin(self, *arguments: Any) -> Beginning:
                looks.append(LoopClock().monotonic_ms())
                return await super().begin(*arguments)

        world = World(Watched())
        guard = Guard(world.store, clock=LoopClock(), lease_ms=30_000, wait_ms=500)
        first = asyncio.create_task(guard.run("k", world.slow))
        await asyncio.sleep(1)
        looks.clear()
        assert await guard.run("k", world.quick) == Elsewhere(28.5)
        waited = [look - looks[0] for look in looks]
        assert waited == [0, 5, 15, 35, 75, 155, 255, 355, 455, 500]
        first.cancel()

    run(scenario())


def test_a_duplicate_takes_over_when_the_first_gives_up_while_it_waits() -> None:
    async def scenario() -> None:
        world = World()
        guard = Guard(world.store, clock=LoopClock(), wait_ms=500)

        async def fails(attempt: Attempt) -> bytes | None:
            await asyncio.sleep(0.1)
            raise ZeroDivisionError

        first = asyncio.create_task(guard.run("k", fails))
        await asyncio.sleep(0)
        assert await guard.run("k", world.quick) == Performed(b"receipt")
        with pytest.raises(ZeroDivisionError):
            await first

    run(scenario())


def test_what_is_left_of_a_lease_is_short_by_default_even_after_a_crash() -> None:
    async def scenario() -> None:
        world = World()
        await world.store.begin(("k",), LEASE_MS, LoopClock().wall_ms())
        outcome = await Guard(world.store, clock=LoopClock()).run("k", world.quick)
        assert isinstance(outcome, Elsewhere)
        assert outcome.remaining_s <= 10
        await asyncio.sleep(outcome.remaining_s)
        assert await world.guard.run("k", world.quick) == Performed(b"receipt")

    run(scenario())


def test_a_lease_grows_with_the_run_so_that_duplicates_come_back_few_times() -> None:
    async def scenario() -> None:
        world = World()
        guard = Guard(world.store, clock=LoopClock(), wait_ms=0)

        async def takes_an_hour(attempt: Attempt) -> bytes | None:
            await asyncio.sleep(3_600)
            return None

        first = asyncio.create_task(guard.run("k", takes_an_hour))
        await asyncio.sleep(0.1)
        receives = 0
        while isinstance(outcome := await guard.run("k", world.quick), Elsewhere):
            receives += 1
            assert outcome.remaining_s <= 60
            await asyncio.sleep(outcome.remaining_s)
        assert await first == Performed(None)
        assert receives < 100

    run(scenario())


class Message:
    """A message whose lease may be lost."""

    lease_lost = False


def test_a_message_that_was_lost_shows_in_the_attempt_and_its_key_is_held_no_longer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        world, message = World(), Message()
        told: list[bool] = []

        async def goes_on(attempt: Attempt) -> bytes | None:
            told.append(attempt.lease_lost)
            await asyncio.sleep(50)
            message.lease_lost = True
            told.append(attempt.lease_lost)
            await asyncio.sleep(50)
            return b"late"

        late = asyncio.create_task(world.guard.run("k", goes_on, delivery=message))
        await asyncio.sleep(80)
        assert await world.guard.run("k", world.quick) == Performed(b"receipt")
        assert told == [False, True]
        with pytest.raises(LeaseLost):
            await late

    run(scenario())
    assert "held no longer" in caplog.text


def test_a_message_that_was_lost_may_still_complete_while_nobody_took_over() -> None:
    async def scenario() -> None:
        world, message = World(), Message()

        async def loses_it(attempt: Attempt) -> bytes | None:
            message.lease_lost = True
            return b"receipt"

        assert await world.guard.run("k", loses_it, delivery=message) == Performed(b"receipt")
        assert await world.guard.run("k", world.quick) == AlreadyDone(b"receipt")

    run(scenario())


def test_a_lease_that_has_ended_is_lost_although_nobody_could_say_so() -> None:
    """As after a handler that blocked the event loop: no extension ran."""

    async def scenario() -> None:
        clock = ManualClock()
        guard = Guard(MemoryIdempotencyStore(), clock=clock, lease_ms=30_000)
        told: list[bool] = []

        async def blocks(attempt: Attempt) -> bytes | None:
            told.append(attempt.lease_lost)
            clock.advance(30_000)
            told.append(attempt.lease_lost)
            return None

        assert await guard.run("k", blocks) == Performed(None)
        assert told == [False, True]

    asyncio.run(scenario())


def test_a_failure_is_kept_with_its_reason_and_an_interruption_is_none() -> None:
    async def scenario() -> None:
        world = World()
        numbers: list[int] = []

        async def fails(attempt: Attempt) -> bytes | None:
            numbers.append(attempt.number)
            raise ValueError("no such card " + "x" * 1_000)

        for _ in range(2):
            with pytest.raises(ValueError, match="no such card"):
                await world.guard.run("k", fails)
        record = await world.store.find("k")
        assert record is not None
        assert (record.state, record.attempts) == (KeyState.FAILED, 2)
        assert (record.error or "").startswith("ValueError: no such card xx")
        assert len(record.error or "") == 500

        running = asyncio.create_task(world.guard.run("k", world.slow))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        record = await world.store.find("k")
        assert record is not None
        assert (record.state, record.error) == (KeyState.FREE, None)
        assert numbers == [1, 2]

    run(scenario())


def test_another_payload_for_a_key_is_an_error_and_never_an_effect() -> None:
    async def scenario() -> None:
        world = World()
        await world.guard.run("k", world.quick, digest=b"one")
        with pytest.raises(PayloadDiffers):
            await world.guard.run("k", world.quick, digest=b"two")
        assert world.performed == ["k"]

    run(scenario())


def test_a_result_is_read_as_a_type() -> None:
    assert AlreadyDone(b'{"number": 7}').read(dict[str, int]) == {"number": 7}
    assert Performed(None).read(NoneType) is None


def test_a_charge_and_a_refund_of_one_order_are_two_things() -> None:
    assert business_key("charge", "order-7") != business_key("refund", "order-7")
    assert delivery_key("order-7") != business_key("delivery", "order-7")


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_facts_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (business_key(*one) == business_key(*other)) == (one == other)


def test_a_file_s_name_is_no_store_and_the_error_says_how_to_open_it() -> None:
    made: Any = SqliteIdempotencyStore
    with pytest.raises(SettingsError, match=r"await SqliteIdempotencyStore\.open\(path\)"):
        made("once.sqlite3")
