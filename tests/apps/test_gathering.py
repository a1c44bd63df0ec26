from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from forebay.apps.gathering import Gathering


class Doubler:
    """Doubles numbers, a lot at a time, and waits for `go` before each lot."""

    def __init__(self) -> None:
        self.lots: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, lot: Sequence[int]) -> list[int | Exception]:
        self.go.wait(timeout=10)
        self.lots.append(list(lot))
        return [ValueError(number) if number < 0 else 2 * number for number in lot]


async def test_what_comes_while_a_lot_is_done_is_the_next_lot() -> None:
    doubler = Doubler()
    with ThreadPoolExecutor(1) as executor:
        gathering: Gathering[int, int] = Gathering(doubler, executor, items_max=3)
        first = asyncio.create_task(gathering.submit(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        others = [asyncio.create_task(gathering.submit(number)) for number in (2, 3, 4, 5)]
        await asyncio.sleep(0)
        doubler.go.set()
        assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10]
    assert doubler.lots == [[1], [2, 3, 4], [5]]


async def test_an_item_that_fails_fails_alone() -> None:
    doubler = Doubler()
    doubler.go.set()
    with ThreadPoolExecutor(1) as executor:
        gathering: Gathering[int, int] = Gathering(doubler, executor, items_max=10)
        results = await asyncio.gather(
            *(gathering.submit(number) for number in (1, -1, 2)), return_exceptions=True
        )
    assert results[0] == 2
    assert isinstance(results[1], ValueError)
    assert results[2] == 4


async def test_a_lot_that_fails_fails_for_all_and_the_next_one_is_done() -> None:
    lots = 0

    def fail_once(lot: Sequence[int]) -> Sequence[int]:
        nonlocal lots
        lots += 1
        if lots == 1:
            raise OSError("disk full")
        return lot

    with ThreadPoolExecutor(1) as executor:
        gathering: Gathering[int, int] = Gathering(fail_once, executor, items_max=10)
        results = await asyncio.gather(
            gathering.submit(1), gathering.submit(2), return_exceptions=True
        )
        assert [str(result) for result in results] == ["disk full", "disk full"]
        assert await gathering.submit(3) == 3


async def test_a_caller_that_is_cancelled_stops_nobody_else() -> None:
    doubler = Doubler()
    with ThreadPoolExecutor(1) as executor:
        gathering: Gathering[int, int] = Gathering(doubler, executor, items_max=10)
        cancelled = asyncio.create_task(gathering.submit(1))
        patient = asyncio.create_task(gathering.submit(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        doubler.go.set()
        assert await patient == 4
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await gathering.finish()
    assert doubler.lots == [[1, 2]]
