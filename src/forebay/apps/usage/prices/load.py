"""The clients of the price API: many, at a rate that rises and falls, and not all of them right."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence

import aiohttp
from msgspec import Struct

from forebay.apps.usage.prices.exchange import ASSETS, SOURCES
from forebay.apps.usage.prices.load_report import LoadReport
from forebay.clock import Clock, SystemClock

#: How often requests are sent, in seconds: those of a moment together.
_MOMENT_S = 0.02

#: How far the rate swings around its mean, and in how many waves.
_SWING = 0.5
_WAVES = 2.0

#: How much less often each asset, source and key is asked for than the one before it.
_SKEW = 0.6

#: One request in so many asks for what does not exist, or has no key.
_UNKNOWN_ASSET_ONE_IN = 100
_NO_KEY_ONE_IN = 150

#: Sockets that all clients share.
_SOCKETS = 64

#: Most requests that wait for their answers. While there are as many nobody asks: an API that is
#: too slow for the rate is asked less, and not buried.
_WAITING_MAX = 1_000

#: How long an answer may take, in seconds.
_TIMEOUT_S = 20.0

_log = logging.getLogger(__name__)


class Ask(Struct, frozen=True):
    """One request."""

    api: int
    asset: str
    source: str
    key: str | None


def requests_by(at_s: float, rate: float, seconds: float) -> int:
    """How many requests are sent in the first `at_s` of `seconds`, at `rate` a second on average.

    The rate rises and falls in waves.
    """
    turn = 2 * math.pi * _WAVES / seconds
    return round(rate * (at_s + _SWING * (1 - math.cos(turn * at_s)) / turn))


def draw(dice: random.Random, *, apis: int, keys: Sequence[str]) -> Iterator[Ask]:
    """What the clients ask for, one after the other, without end."""
    assets, sources = list(ASSETS), list(SOURCES)
    asset_weights, source_weights, key_weights = map(_weights, (assets, sources, keys))
    while True:
        known = dice.randrange(_UNKNOWN_ASSET_ONE_IN) > 0
        keyed = dice.randrange(_NO_KEY_ONE_IN) > 0
        yield Ask(
            api=dice.randrange(apis),
            asset=dice.choices(assets, asset_weights)[0] if known else "GOLD",
            source=dice.choices(sources, source_weights)[0],
            key=dice.choices(keys, key_weights)[0] if keyed else None,
        )


class Clients:
    """Sends requests on time, whether or not the ones before were answered, up to _WAITING_MAX."""

    def __init__(
        self,
        api_urls: Sequence[str],
        keys: Sequence[str],
        *,
        seed: int,
        clock: Clock | None = None,
    ) -> None:
        self._api_urls = api_urls
        self._asks = draw(random.Random(seed), apis=len(api_urls), keys=keys)
        self._clock = clock or SystemClock()
        self._answered: Counter[int] = Counter()
        self._unanswered = 0
        self._waiting = 0

    async def ask(self, rate: float, seconds: float) -> LoadReport:
        """Ask for so many seconds, and wait for the last answers."""
        asked = left_out = 0
        started_ms = self._clock.monotonic_ms()
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_SOCKETS),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            ) as session,
            asyncio.TaskGroup() as requests,
        ):
            at_s = 0.0
            while at_s < seconds:
                await self._clock.sleep(_MOMENT_S)
                at_s = min(seconds, (self._clock.monotonic_ms() - started_ms) / 1000)
                due = requests_by(at_s, rate, seconds) - left_out - asked
                sent = max(0, min(due, _WAITING_MAX - self._waiting))
                for _ in range(sent):
                    requests.create_task(self._get(session, next(self._asks)))
                self._waiting += sent
                asked += sent
                left_out += max(0, due - sent)
        return LoadReport(asked, dict(self._answered), self._unanswered, left_out)

    async def _get(self, session: aiohttp.ClientSession, ask: Ask) -> None:
        headers = {} if ask.key is None else {"X-Api-Key": ask.key}
        url = f"{self._api_urls[ask.api]}/prices/{ask.asset}"
        try:
            async with session.get(url, params={"source": ask.source}, headers=headers) as answer:
                await answer.read()
                self._answered[answer.status] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("no answer from %s: %r", url, error)
            self._unanswered += 1
        finally:
            self._waiting -= 1


def _weights(names: Sequence[str]) -> list[float]:
    return [_SKEW**place for place in range(len(names))]
