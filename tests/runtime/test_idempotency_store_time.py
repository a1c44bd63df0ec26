"""The store's time as a caller keeps it: how well it is known, and when it is asked anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from forebay.clock import Clock, ManualClock
from forebay.idempotency import MemoryIdempotencyStore
from forebay.idempotency.store_time import StoreTime

AHEAD_MS = 7_000_000


class Machine(ManualClock):
    """A clock whose wall time is wrong."""

    wrong_by_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.wrong_by_ms


class FarStore(MemoryIdempotencyStore):
    """A store with a clock of its own, which takes a while each way."""

    def __init__(self, machine: Machine, ways_ms: Iterator[tuple[int, int]]) -> None:
        super().__init__()
        self.machine = machine
        self.ways_ms = ways_ms
        self.asked = 0

    async def time_ms(self, clock: Clock) -> int:
        self.asked += 1
        there_ms, back_ms = next(self.ways_ms, (0, 0))
        self.machine.advance(there_ms)
        now_ms = clock.monotonic_ms() + AHEAD_MS
        self.machine.advance(back_ms)
        return now_ms


def known(ways_ms: list[tuple[int, int]]) -> tuple[Machine, FarStore, StoreTime]:
    machine = Machine()
    store = FarStore(machine, iter(ways_ms))
    return machine, store, StoreTime(store, machine)


@pytest.mark.parametrize(
    ("ways_ms", "asked", "wrong_ms"),
    [
        ([(0, 0)], 1, 0),
        ([(10, 10)], 1, 0),
        ([(20, 0)], 1, 10),
        # The first has to connect.
        ([(3_000, 5), (5, 5)], 2, 0),
        ([(300, 300), (0, 400), (300, 200)], 3, 200),
    ],
)
async def test_it_is_known_to_half_of_the_quickest_answer(
    ways_ms: list[tuple[int, int]], asked: int, wrong_ms: int
) -> None:
    machine, store, time = known(ways_ms)
    assert abs(await time.now_ms() - machine.monotonic_ms() - AHEAD_MS) == wrong_ms
    assert store.asked == asked


async def test_it_is_asked_once_a_minute() -> None:
    machine, store, time = known([])
    for passes_ms, asked in ((0, 1), (59_999, 1), (1, 2), (30_000, 2), (30_000, 3)):
        machine.advance(passes_ms)
        assert await time.now_ms() == time.last_known_ms() == machine.monotonic_ms() + AHEAD_MS
        assert store.asked == asked


@pytest.mark.parametrize("step_ms", [500, -500, 3_600_000, -3_600_000])
async def test_it_is_asked_anew_when_the_wall_clock_was_set_or_the_machine_slept(
    step_ms: int,
) -> None:
    machine, store, time = known([])
    await time.now_ms()
    machine.wrong_by_ms += step_ms
    for _ in range(2):
        assert await time.now_ms() == machine.monotonic_ms() + AHEAD_MS
        assert store.asked == 2


async def test_a_small_correction_of_the_wall_clock_is_no_step() -> None:
    machine, store, time = known([])
    await time.now_ms()
    machine.wrong_by_ms += 499
    await time.now_ms()
    assert store.asked == 1
