"""One contract, held by every idempotency store: its leases go by its own time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from forebay.clock import SystemClock
from forebay.idempotency import (
    Attempt,
    Elsewhere,
    Guard,
    IdempotencyStore,
    KeyState,
    Performed,
    SqliteIdempotencyStore,
)
from forebay.idempotency.postgres import PostgresIdempotencyStore
from forebay.idempotency.sqlite import store as sqlite_store
from forebay.idempotency.store_time import StoreTime
from forebay.scaled_clock import ScaledClock

LEASE_MS = 30_000
HOURS_MS = 3 * 3_600_000


class Machine:
    """A machine whose wall clock is wrong, beside others whose time passes as its own does."""

    #: What the monotonic clocks have been put forward by.
    passed_ms = 0

    def __init__(self, wrong_by_ms: int) -> None:
        self.wrong_by_ms = wrong_by_ms
        self._clock = SystemClock()

    def wall_ms(self) -> int:
        return self._clock.wall_ms() + Machine.passed_ms + self.wrong_by_ms

    def monotonic_ms(self) -> int:
        return self._clock.monotonic_ms() + Machine.passed_ms

    async def sleep(self, duration_s: float) -> None:
        await self._clock.sleep(duration_s)


@pytest.fixture(autouse=True)
def _begin() -> None:
    Machine.passed_ms = 0


def guard(store: IdempotencyStore, machine: Machine) -> Guard:
    return Guard(store, clock=machine, lease_ms=LEASE_MS, wait_ms=0)


@pytest.mark.parametrize("wrong_by_ms", [HOURS_MS, -HOURS_MS])
async def test_a_live_lease_is_not_taken_over_by_a_machine_whose_clock_is_wrong(
    store: IdempotencyStore, wrong_by_ms: int
) -> None:
    async def effect(attempt: Attempt) -> None:
        outcome = await guard(store, Machine(wrong_by_ms)).run("k", lambda _: b"taken over")
        assert isinstance(outcome, Elsewhere)
        assert LEASE_MS - 5_000 < outcome.remaining_s * 1000 <= LEASE_MS + 500
        assert not attempt.lease_lost

    assert isinstance(await guard(store, Machine(0)).run("k", effect), Performed)


@pytest.mark.parametrize("wrong_by_ms", [HOURS_MS, -HOURS_MS])
async def test_a_lease_that_a_wrong_machine_took_lasts_no_longer_and_no_shorter(
    store: IdempotencyStore, wrong_by_ms: int
) -> None:
    async def effect(attempt: Attempt) -> None:
        right = guard(store, Machine(0))
        assert isinstance(await right.run("k", lambda _: None), Elsewhere)
        Machine.passed_ms += LEASE_MS + 1_000
        assert attempt.lease_lost
        outcome = await right.run("k", lambda _: b"taken over")
        assert outcome == Performed(b"taken over")
        # It has died in the meantime.
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await guard(store, Machine(wrong_by_ms)).run("k", effect)
    record = await store.find("k")
    assert record is not None
    assert (record.state, record.result) == (KeyState.COMPLETED, b"taken over")


@pytest.mark.parametrize("step_ms", [HOURS_MS, -HOURS_MS])
async def test_a_step_of_the_clock_neither_ends_nor_prolongs_a_lease(
    store: IdempotencyStore, step_ms: int
) -> None:
    machine = Machine(0)
    own = guard(store, machine)

    async def effect(attempt: Attempt) -> None:
        machine.wrong_by_ms += step_ms
        assert not attempt.lease_lost
        for each in (own, guard(store, machine)):
            outcome = await each.run("k", lambda _: b"taken over")
            assert isinstance(outcome, Elsewhere)
            assert outcome.remaining_s * 1000 <= LEASE_MS + 500
        Machine.passed_ms += LEASE_MS + 1_000
        assert attempt.lease_lost

    await own.run("k", effect)


async def test_all_who_share_a_store_have_its_time(store: IdempotencyStore) -> None:
    machines = [Machine(0), Machine(HOURS_MS), Machine(-HOURS_MS)]
    times = [await StoreTime(store, machine).now_ms() for machine in machines]
    assert max(times) - min(times) < 1_000
    assert abs(times[0] - SystemClock().wall_ms()) < 5_000


async def test_the_time_goes_on_without_asking_and_is_asked_again(store: IdempotencyStore) -> None:
    machine = Machine(0)
    time = StoreTime(store, machine)
    begun_ms = await time.now_ms()
    Machine.passed_ms += 50_000
    assert 50_000 <= await time.now_ms() - begun_ms < 52_000
    assert 50_000 <= time.last_known_ms() - begun_ms < 52_000


async def test_a_file_keeps_its_time_when_the_clock_was_set_between_two_processes(
    tmp_path: Path,
) -> None:
    times = []
    for wrong_by_ms in (0, HOURS_MS, -HOURS_MS):
        opened = await SqliteIdempotencyStore.open(tmp_path / "keys.db", durable=False)
        times.append(await opened.time_ms(Machine(wrong_by_ms)))
        await opened.close()
    assert max(times) - min(times) < 2_000


async def test_a_file_goes_by_the_wall_clock_after_a_start_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for boot, wrong_by_ms in ((1, 0), (2, HOURS_MS), (None, 2 * HOURS_MS)):
        monkeypatch.setattr(sqlite_store, "boot_number", lambda boot=boot: boot)
        machine = Machine(wrong_by_ms)
        opened = await SqliteIdempotencyStore.open(tmp_path / "keys.db", durable=False)
        assert abs(await opened.time_ms(machine) - machine.wall_ms()) < 1_000
        await opened.close()


async def test_the_server_s_time_is_told_in_the_terms_of_a_scaled_clock(postgres: str) -> None:
    clock = ScaledClock(10)
    opened = await PostgresIdempotencyStore.open(postgres)
    assert abs(await opened.time_ms(clock) - clock.wall_ms()) < 10_000
    await opened.close()
