"""The load generator: many buyers, each with an HTTP client of their own habits."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

import aiohttp
import msgspec
from msgspec import Struct

from forebay.apps.sale.domain import BUG_MARKER, Section, SectionKind
from forebay.clock import Clock, SystemClock

#: How fast buyers come, in buyers a second. 50,000 in 30 s is the rush that the sale was built for.
BUYERS_PER_S = 50_000 / 30

#: The least time that the buyers' arrival is spread over, in seconds, so that a small sale lasts
#: long enough for something to happen in the midst of it.
RUSH_S_MIN = 3.0

#: How long buyers keep trying, in seconds: this long, and more when there are so many that a small
#: machine needs longer to serve them.
PATIENCE_S = 45.0
SERVED_PER_S_MIN = 200

#: One buyer in so many clicks twice, asks for a seat by number, looks at the order, …
DOUBLE_CLICKS_ONE_IN = 10
SEAT_WISHES_ONE_IN = 5
LOOKS_ONE_IN = 10

#: … orders a seat that does not exist, or something that the workers have a bug with.
IMPOSSIBLE_ONE_IN = 200
BUG_ONE_IN = 1_000

#: Sockets that all buyers share. As many as a small server accepts without tuning.
_SOCKETS = 200

#: How long a request may take, in seconds, before the buyer clicks again.
_REQUEST_TIMEOUT_S = 20.0

#: How long a buyer waits after a refused connection, in seconds.
_RECONNECT_S = 0.25

_log = logging.getLogger(__name__)


class Purchase(Struct, frozen=True):
    """What one buyer is going to do."""

    key: str
    body: bytes
    #: When the buyer comes, in seconds after the start.
    at_s: float
    #: Which API process each click goes to. Clicks are sent at the same time.
    clicks: tuple[int, ...]
    looks: bool


class LoadReport(Struct):
    """What the load generator believes. Only a log: the ledger reads the stores."""

    accepted: int = 0
    retries: int = 0
    refused: int = 0
    gave_up: int = 0


def plan_purchases(
    sections: Sequence[Section], *, buyers: int, apis: int, seed: int
) -> list[Purchase]:
    """What the buyers will do, in order of arrival. The same for the same arguments."""
    dice = random.Random(seed)
    rush_s = max(RUSH_S_MIN, buyers / BUYERS_PER_S)
    times_s = sorted(dice.uniform(0, rush_s) for _ in range(buyers))
    return [
        Purchase(
            key=f"{seed}-{number}",
            body=msgspec.json.encode(_wish(dice, number, sections)),
            at_s=at_s,
            clicks=tuple(
                dice.randrange(apis)
                for _ in range(2 if dice.randrange(DOUBLE_CLICKS_ONE_IN) == 0 else 1)
            ),
            looks=dice.randrange(LOOKS_ONE_IN) == 0,
        )
        for number, at_s in enumerate(times_s)
    ]


def _wish(dice: random.Random, number: int, sections: Sequence[Section]) -> dict[str, object]:
    section = dice.choice(sections)
    wish: dict[str, object] = {"section": section.name, "buyer": f"buyer-{number}"}
    if number % IMPOSSIBLE_ONE_IN == IMPOSSIBLE_ONE_IN // 2:
        wish["seat"] = section.capacity + 1
    elif number % BUG_ONE_IN == BUG_ONE_IN // 20:
        wish["note"] = BUG_MARKER
    elif section.kind is SectionKind.RESERVED and dice.randrange(SEAT_WISHES_ONE_IN) == 0:
        wish["seat"] = dice.randint(1, section.capacity)
    return wish


class Buyers:
    """Carries out purchases against the API, each until it is accepted or time is up."""

    def __init__(
        self,
        event: str,
        api_urls: Sequence[str],
        *,
        seed: int,
        clock: Clock | None = None,
    ) -> None:
        self._event = event
        self._api_urls = api_urls
        self._deadline_s = PATIENCE_S
        self._dice = random.Random(seed)
        self._clock = clock or SystemClock()
        self._started_ms = self._clock.monotonic_ms()
        self.report = LoadReport()

    async def buy(self, purchases: Sequence[Purchase]) -> LoadReport:
        """Have all of them done and return what came of it."""
        self._started_ms = self._clock.monotonic_ms()
        self._deadline_s = PATIENCE_S + len(purchases) / SERVED_PER_S_MIN
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_SOCKETS),
                timeout=aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S),
            ) as session,
            asyncio.TaskGroup() as buyers,
        ):
            for purchase in purchases:
                await self._clock.sleep(max(0.0, purchase.at_s - self._elapsed_s()))
                for api in purchase.clicks:
                    buyers.create_task(self._click(session, purchase, api))
        return self.report

    async def _click(self, session: aiohttp.ClientSession, purchase: Purchase, api: int) -> None:
        url = f"{self._api_urls[api]}/events/{self._event}/orders"
        headers = {"Idempotency-Key": purchase.key, "X-Api-Key": f"channel-{api + 1}"}
        while self._elapsed_s() < self._deadline_s:
            try:
                async with session.post(url, data=purchase.body, headers=headers) as answer:
                    content = await answer.read()
            except (aiohttp.ClientError, TimeoutError):
                await self._wait(_RECONNECT_S)
                continue
            if answer.status < 300:
                self.report.accepted += 1
                if purchase.looks:
                    await self._look(session, api, msgspec.json.decode(content)["order_id"])
                return
            if answer.status != 503:
                _log.error("purchase %s was refused: %s", purchase.key, content.decode())
                self.report.refused += 1
                return
            await self._wait(float(answer.headers.get("Retry-After", 1)))
        self.report.gave_up += 1

    async def _look(self, session: aiohttp.ClientSession, api: int, order_id: str) -> None:
        try:
            async with session.get(f"{self._api_urls[api]}/orders/{order_id}") as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.info("order %s could not be looked at: %s", order_id, error)

    async def _wait(self, pause_s: float) -> None:
        """Wait about `pause_s`; buyers who were turned away together do not come back together."""
        self.report.retries += 1
        await self._clock.sleep(self._dice.uniform(0.5, 1.5) * pause_s)

    def _elapsed_s(self) -> float:
        return (self._clock.monotonic_ms() - self._started_ms) / 1000
