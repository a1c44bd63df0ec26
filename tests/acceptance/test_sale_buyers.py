"""The buyers against an API that is away, full or slow: a real server, and a clock of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from forebay.apps.sale.load import Buyers, LoadReport, Purchase
from forebay.clock import ManualClock

Handler = Callable[[web.Request], web.Response]


class HurriedClock(ManualClock):
    """A clock on which every sleep is over at once."""

    async def sleep(self, duration_s: float) -> None:
        self.advance(round(duration_s * 1000))
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(answer: Handler) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


def purchase(number: int, clicks: int = 1, *, looks: bool = False) -> Purchase:
    return Purchase(f"key-{number}", b"{}", at_s=number, clicks=(0,) * clicks, looks=looks)


async def buy(url: str, *purchases: Purchase) -> LoadReport:
    return await Buyers("gala", [url], seed=1, clock=HurriedClock()).buy(purchases)


async def test_a_buyer_who_is_turned_away_comes_again_with_the_same_key() -> None:
    keys: Counter[str] = Counter()

    def full_twice(request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        keys[key] += 1
        if keys[key] <= 2:
            return web.Response(status=503, headers={"Retry-After": "1"})
        return web.json_response({"order_id": key}, status=202)

    async with serving(full_twice) as url:
        report = await buy(url, purchase(1), purchase(2))
    assert report == LoadReport(accepted=2, retries=4)
    assert keys == {"key-1": 3, "key-2": 3}


async def test_a_buyer_who_cannot_connect_gives_up_in_the_end() -> None:
    async with serving(lambda request: web.Response(status=202)) as url:
        pass
    report = await buy(url, purchase(1))
    assert (report.accepted, report.gave_up) == (0, 1)
    assert report.retries > 100


async def test_a_refused_buyer_does_not_try_again() -> None:
    async with serving(lambda request: web.Response(status=422, text="another body")) as url:
        assert await buy(url, purchase(1)) == LoadReport(refused=1)


async def test_a_double_click_is_two_requests_and_a_look_is_one_more() -> None:
    calls: Counter[str] = Counter()

    def accept(request: web.Request) -> web.Response:
        calls[request.method + " " + request.path] += 1
        return web.json_response({"order_id": "o1"}, status=202)

    async with serving(accept) as url:
        report = await buy(url, purchase(1, clicks=2), purchase(2, looks=True))
    assert report == LoadReport(accepted=3)
    assert calls == {"POST /events/gala/orders": 3, "GET /orders/o1": 1}
