"""Usage logs as a price API writes them, made before anything is measured.

They differ from each other as real ones do, for what is measured depends on how well they compress:
hundreds of API keys, assets and sources, some asked for far more than others, and answer times that
go with the cache tier. So many are made that none comes twice in a pack.
"""

from __future__ import annotations

import math
import random
from itertools import accumulate

from forebay.apps.usage.domain import UsageLog

#: How many different logs a process makes; a pack holds a few thousand.
DIFFERENT = 100_000

KEYS, ASSETS, SOURCES = 500, 300, 24

#: The tiers, each with its share of the answers, and the median and spread of its answer times: of
#: a lognormal distribution, in microseconds.
_TIERS = {
    "L1_MEMORY": (0.82, 45, 0.4),
    "L2_REDIS": (0.14, 620, 0.5),
    "ORIGIN": (0.04, 41_000, 0.7),
}

#: The statuses of answers, with their shares.
_STATUSES = {200: 0.985, 404: 0.007, 429: 0.006, 503: 0.002}


def make_logs(count: int = DIFFERENT, seed: int = 1) -> list[UsageLog]:
    """So many logs; the same ones for the same seed."""
    chance = random.Random(seed)
    keys = [f"ak_live_{random.Random(number).getrandbits(64):016x}" for number in range(KEYS)]
    assets = [f"{_ticker(number)}-USD" for number in range(ASSETS)]
    sources = [f"exchange-{number:02d}" for number in range(SOURCES)]
    tiers = chance.choices(list(_TIERS), [share for share, _, _ in _TIERS.values()], k=count)
    return [
        UsageLog(key, asset, source, _answer_time_us(chance, tier), tier, status)
        for key, asset, source, tier, status in zip(
            _popular(chance, keys, count),
            _popular(chance, assets, count),
            _popular(chance, sources, count),
            tiers,
            chance.choices(list(_STATUSES), list(_STATUSES.values()), k=count),
            strict=True,
        )
    ]


def _popular(chance: random.Random, names: list[str], count: int) -> list[str]:
    """So many of the names, the n-th in proportion to 1/n."""
    weights = list(accumulate(1 / place for place in range(1, len(names) + 1)))
    return chance.choices(names, cum_weights=weights, k=count)


def _answer_time_us(chance: random.Random, tier: str) -> int:
    _, median_us, spread = _TIERS[tier]
    return max(1, round(chance.lognormvariate(math.log(median_us), spread)))


def _ticker(number: int) -> str:
    """Three to five letters that belong to the number."""
    chance = random.Random(number)
    return "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=chance.randint(3, 5)))
