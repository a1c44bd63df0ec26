from __future__ import annotations

import random
from collections import Counter
from itertools import islice, pairwise

from forebay.apps.usage.prices.exchange import ASSETS, SOURCES
from forebay.apps.usage.prices.load import Ask, draw, requests_by


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
