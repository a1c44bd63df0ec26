from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from forebay.apps.usage.prices.exchange import ExchangeDown, Exchanges, Quote, Walk
from forebay.apps.usage.prices.tiers import (
    CACHE_FILE,
    L1,
    L1_FRESH_MS,
    L2,
    L2_FRESH_MS,
    ORIGIN,
    Prices,
    SharedFile,
)
from forebay.clock import ManualClock
from forebay.errors import StoreError


class Exchange:
    """Answers when it is told to."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.asked = 0
        self.error: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def ask(self, asset: str, source: str) -> Quote:
        self.asked += 1
        await self.free.wait()
        if self.error is not None:
            raise self.error
        return Quote(asset, source, 64_000.0 + self.asked, self._clock.wall_ms())


class NothingShared:
    async def find(self, asset: str, source: str) -> Quote | None:
        raise StoreError("the disk is gone")

    async def keep(self, quote: Quote) -> None:
        raise StoreError("the disk is gone")


async def test_a_price_is_asked_for_once_and_then_found_nearer(tmp_path: Path) -> None:
    clock = ManualClock()
    exchange = Exchange(clock)
    mine, others = [await SharedFile.open(tmp_path / CACHE_FILE) for _ in range(2)]
    here, there = Prices(mine, exchange.ask, clock=clock), Prices(others, exchange.ask, clock=clock)
    first = await here.find("BTC", "kraken")
    await here.close()
    assert first.tier == ORIGIN
    assert (await here.find("BTC", "kraken")) == type(first)(first.quote, L1)
    assert (await there.find("BTC", "kraken")) == type(first)(first.quote, L2)
    clock.advance(L1_FRESH_MS)
    assert (await here.find("BTC", "kraken")).tier == L2
    clock.advance(L2_FRESH_MS)
    later = await there.find("BTC", "kraken")
    assert (later.tier, later.quote.price) == (ORIGIN, 64_002.0)
    assert exchange.asked == 2
    await there.close()
    for each in (mine, others):
        await each.close()


async def test_an_older_price_does_not_take_the_place_of_a_newer_one(tmp_path: Path) -> None:
    shared = await SharedFile.open(tmp_path / CACHE_FILE)
    await shared.keep(Quote("BTC", "kraken", 2.0, 2_000))
    await shared.keep(Quote("BTC", "kraken", 1.0, 1_000))
    assert await shared.find("BTC", "kraken") == Quote("BTC", "kraken", 2.0, 2_000)
    assert await shared.find("BTC", "binance") is None
    await shared.close()


async def test_requests_for_one_price_wait_for_one_answer_whoever_goes_away() -> None:
    clock = ManualClock()
    exchange = Exchange(clock)
    exchange.free.clear()
    prices = Prices(NothingShared(), exchange.ask, clock=clock)
    finds = [asyncio.ensure_future(prices.find("BTC", "kraken")) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    finds[0].cancel()
    exchange.free.set()
    found = await asyncio.gather(*finds[1:])
    assert {each.quote.price for each in found} == {64_001.0}
    assert exchange.asked == 1
    await prices.close()


async def test_prices_are_answered_while_nothing_can_be_shared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    prices = Prices(NothingShared(), Exchange(clock).ask, clock=clock)
    assert (await prices.find("BTC", "kraken")).tier == ORIGIN
    await prices.close()
    assert "cannot be read: the disk is gone" in caplog.text
    assert "was not shared: the disk is gone" in caplog.text


async def test_an_exchange_that_is_down_is_asked_again_by_the_next(tmp_path: Path) -> None:
    clock = ManualClock()
    exchange = Exchange(clock)
    exchange.error = ExchangeDown("kraken does not answer. Ask again.")
    shared = await SharedFile.open(tmp_path / CACHE_FILE)
    prices = Prices(shared, exchange.ask, clock=clock)
    with pytest.raises(ExchangeDown):
        await prices.find("BTC", "kraken")
    exchange.error = None
    assert (await prices.find("BTC", "kraken")).tier == ORIGIN
    await prices.close()
    await shared.close()


def test_all_who_walk_with_one_seed_are_at_the_same_place() -> None:
    one, other = Walk("1/BTC/kraken", 64_000.0), Walk("1/BTC/kraken", 64_000.0)
    steps = [one.at(step) for step in range(1, 100)]
    assert other.at(99) == steps[-1]
    assert len(set(steps)) == 99
    assert all(64_000 * 0.9 < price < 64_000 * 1.1 for price in steps)
    assert Walk("2/BTC/kraken", 64_000.0).at(99) != steps[-1]


async def test_an_exchange_answers_after_a_while_and_sometimes_not_at_all() -> None:
    clock = ManualClock()
    began_ms = clock.wall_ms()
    exchanges = Exchanges(seed=1, began_ms=began_ms, clock=clock, node="prices-1")
    down, waits_ms = 0, []
    for _ in range(2_000):
        asked_ms = clock.wall_ms()
        asking = asyncio.ensure_future(exchanges.ask("BTC", "binance"))
        await asyncio.sleep(0)
        while not asking.done():
            clock.advance(1)
            await asyncio.sleep(0)
        waits_ms.append(clock.wall_ms() - asked_ms)
        if asking.exception() is not None:
            assert isinstance(asking.exception(), ExchangeDown)
            down += 1
    assert 0 < down < 20
    assert 9 < sorted(waits_ms)[1_000] < 15
    assert max(waits_ms) > 24
