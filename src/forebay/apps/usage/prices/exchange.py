"""Simulated exchanges: seeded random walks, told after a while, and sometimes not at all.

They stand for what a price API asks over the internet. Nothing here is real but the waiting.
"""

from __future__ import annotations

import math
import random

from msgspec import Struct

from forebay.clock import Clock
from forebay.errors import ForebayError

#: The assets that have a price, each with the price its walk begins at, in US dollars.
ASSETS = {
    "BTC": 64_000.0,
    "ETH": 3_100.0,
    "SOL": 145.0,
    "XRP": 0.52,
    "ADA": 0.45,
    "DOGE": 0.12,
}

#: The exchanges, each with its median time to answer, in milliseconds.
SOURCES = {"binance": 12.0, "coinbase": 20.0, "kraken": 35.0}

#: How often a price moves, in milliseconds.
STEP_MS = 100

#: Standard deviation of one step, as a part of the price.
_STEP_SPREAD = 0.000_4

#: How far the answering times spread: the standard deviation of their logarithm. Some 2 % of the
#: answers take more than twice the median.
_LATENCY_SPREAD = 0.35

#: One question in so many gets no answer.
FAILURES_ONE_IN = 400


class Quote(Struct, frozen=True):
    """A price, in US dollars."""

    asset: str
    source: str
    price: float
    #: When the exchange said so, in milliseconds since the Unix epoch.
    at_ms: int


class ExchangeDown(ForebayError):
    """The exchange did not answer. Ask again."""


class Walk:
    """A random walk that everybody who begins it with the same seed walks alike. It never ends."""

    def __init__(self, seed: str, price: float) -> None:
        self._dice = random.Random(seed)
        self._price = price
        self._step = 0

    def at(self, step: int) -> float:
        """The price at a step; the latest one for a step that has been passed."""
        while self._step < step:
            self._price *= math.exp(self._dice.gauss(0, _STEP_SPREAD))
            self._step += 1
        return self._price


class Exchanges:
    """All of them. Processes that are given the same seed and beginning see the same prices."""

    def __init__(self, *, seed: int, began_ms: int, clock: Clock, node: str) -> None:
        self._began_ms = began_ms
        self._clock = clock
        #: How long each answer takes differs between processes.
        self._dice = random.Random(f"{seed}/{node}")
        self._walks = {
            (asset, source): Walk(f"{seed}/{asset}/{source}", price)
            for asset, price in ASSETS.items()
            for source in SOURCES
        }

    async def ask(self, asset: str, source: str) -> Quote:
        """The price of an asset. It takes as long as the exchange takes.

        Raises ExchangeDown when it does not answer, and KeyError for what does not exist.
        """
        walk = self._walks[asset, source]
        wait_ms = SOURCES[source] * math.exp(self._dice.gauss(0, _LATENCY_SPREAD))
        await self._clock.sleep(wait_ms / 1000)
        if self._dice.randrange(FAILURES_ONE_IN) == 0:
            raise ExchangeDown(f"{source} does not answer. Ask again.")
        now_ms = self._clock.wall_ms()
        price = walk.at(max(0, now_ms - self._began_ms) // STEP_MS)
        return Quote(asset, source, float(f"{price:.8g}"), now_ms)
