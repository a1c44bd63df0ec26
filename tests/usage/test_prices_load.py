from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import islice, pairwise

from aiohttp import web
from aiohttp.test_utils import TestServer

from forebay.apps.usage.prices.exchange import ASSETS, SOURCES
from forebay.apps.usage.prices.load import Ask, Clients, draw, requests_by
from forebay.clock import ManualClock


def asks(seed: int, number: int) -> list[Ask]:
    return list(islice(draw(random.Random(seed), apis=2, keys=["one", "two"]), number))


def test_the_rate_rises_and_falls_around_its_mean() -> None:
    sent = [requests_by(second, rate=1_000, seconds=20) for second in range(21)]
    assert (sent[0], sent[20]) == (0, 20_000)
    rates = [after - before for before, after in pairwise(sent)]
    assert all(480 < rate < 1_520 for rate in rates)
    assert max(rates) > 1_400
    assert min(rates) < 600


def test_the_same_seed_asks_the_same() -> None:
    assert asks(1, 100) == asks(1, 100)
    assert asks(1, 100) != asks(2, 100)


def test_everything_is_asked_for_and_some_of_it_wrongly() -> None:
    drawn = asks(1, 20_000)
    assets = Counter(ask.asset for ask in drawn)
    assert set(assets) == {*ASSETS, "GOLD"}
    assert assets["BTC"] > assets["ETH"] > assets["DOGE"] > assets["GOLD"] > 100
    assert {ask.source for ask in drawn} == set(SOURCES)
    assert {ask.key for ask in drawn} == {"one", "two", None}
    assert Counter(ask.api for ask in drawn)[0] in range(9_500, 10_500)


async def test_an_api_that_is_too_slow_is_asked_less_and_not_buried() -> None:
    waiting = most = 0
    done = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await done.wait()
        waiting -= 1
        return web.Response()

    application = web.Application()
    application.router.add_get("/prices/{asset}", slow)
    async with TestServer(application) as server:
        clock = ManualClock()
        clients = Clients([str(server.make_url("")).rstrip("/")], ["key"], seed=1, clock=clock)
        asking = asyncio.ensure_future(clients.ask(rate=20_000, seconds=0.5))
        for _ in range(50):
            await asyncio.sleep(0)
            clock.advance(20)
        done.set()
        report = await asking
    assert report.asked == report.answered[200] == 1_000
    assert report.left_out == 9_000
    assert report.unanswered == 0
    assert most <= 64
