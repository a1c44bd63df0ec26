from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from msgspec import Struct

from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.apps.usage.prices.api import PriceApi
from forebay.apps.usage.prices.exchange import ExchangeDown, Quote
from forebay.apps.usage.prices.keys import DEMO_KEYS, KeyRing, read_keys
from forebay.apps.usage.prices.metrics import PriceMetrics
from forebay.apps.usage.prices.tiers import L1, Found
from forebay.errors import SettingsError
from forebay.producer import ProducerLedger
from tests.apps.asgi import Answer, ask

KEY = {"X-Api-Key": "demo-key-2"}
KEY_ID = "ak_demo_mobile_app"


class Usage:
    """Keeps what is sent, unless it is full."""

    def __init__(self) -> None:
        self.logs: list[UsageLog] = []
        self.full = False

    def send(self, type: str, payload: object) -> bool:  # noqa: A002
        assert type == USAGE_LOG_TYPE
        assert isinstance(payload, UsageLog)
        if not self.full:
            self.logs.append(payload)
        return not self.full

    @property
    def ledger(self) -> ProducerLedger:
        kept = len(self.logs)
        return ProducerLedger(offered=kept, delivered=0, dropped={}, failed=0, buffered=kept)


class Finder:
    def __init__(self) -> None:
        self.error: Exception | None = None

    async def find(self, asset: str, source: str) -> Found:
        if self.error is not None:
            raise self.error
        return Found(Quote(asset, source, 64_123.5, 1_700_000_000_000), L1)


class World(Struct):
    usage: Usage
    finder: Finder
    api: PriceApi

    async def get(self, path: str, headers: dict[str, str], query: bytes = b"") -> Answer:
        return await ask(self.api.application(), "GET", path, headers=headers, query=query)


@pytest.fixture
def world() -> World:
    usage, finder = Usage(), Finder()
    ticks = count(0, 42_000)
    api = PriceApi(
        finder,
        usage,
        KeyRing(DEMO_KEYS),
        node="prices-1",
        metrics=PriceMetrics(),
        elapsed_ns=lambda: next(ticks),
    )
    return World(usage, finder, api)


async def test_a_price_is_answered_and_logged_as_the_document_says(world: World) -> None:
    answer = await world.get("/prices/btc", KEY, b"source=kraken")
    assert answer.status == 200
    assert answer.json() == {
        "quote": {
            "asset": "BTC",
            "source": "kraken",
            "price": 64_123.5,
            "at_ms": 1_700_000_000_000,
        },
        "tier": L1,
    }
    assert world.usage.logs == [UsageLog(KEY_ID, "BTC", "kraken", 42, L1, 200)]


@pytest.mark.parametrize(
    ("path", "headers", "query", "status", "logged"),
    [
        ("/prices/BTC", {}, b"", 401, ("unknown", "BTC", "binance")),
        ("/prices/BTC", {"X-Api-Key": "stolen"}, b"", 401, ("unknown", "BTC", "binance")),
        ("/prices/GOLD", KEY, b"", 404, (KEY_ID, "GOLD", "binance")),
        ("/prices/BTC", KEY, b"source=nyse", 404, (KEY_ID, "BTC", "nyse")),
        ("/prices/" + "X" * 500, KEY, b"", 404, (KEY_ID, "X" * 32, "binance")),
    ],
)
async def test_what_is_refused_is_logged_too(
    world: World,
    path: str,
    headers: dict[str, str],
    query: bytes,
    status: int,
    logged: tuple[str, str, str],
) -> None:
    answer = await world.get(path, headers, query)
    assert answer.status == status
    assert answer.json()["error"]
    assert "stolen" not in answer.body.decode()
    assert world.usage.logs == [UsageLog(*logged, 42, "NONE", status)]


@pytest.mark.parametrize(
    ("error", "status"), [(ExchangeDown("kraken does not answer."), 503), (KeyError("bug"), 500)]
)
async def test_a_price_that_is_not_found_is_answered_and_logged(
    world: World, error: Exception, status: int
) -> None:
    world.finder.error = error
    assert (await world.get("/prices/BTC", KEY)).status == status
    assert [log.http_status for log in world.usage.logs] == [status]


async def test_the_price_is_answered_though_its_log_is_dropped(world: World) -> None:
    world.usage.full = True
    assert (await world.get("/prices/BTC", KEY)).status == 200


async def test_health_and_metrics_say_what_was_done(world: World) -> None:
    await world.get("/prices/BTC", KEY)
    await world.get("/prices/BTC", KEY, b"source=made-up-by-somebody")
    health = (await world.get("/health", {})).json()
    assert (health["status"], health["node"], health["usage"]["offered"]) == ("ok", "prices-1", 2)
    text = (await world.get("/metrics", {})).body.decode()
    line = 'forebay_price_requests_total{source="binance",status="200",tier="L1_MEMORY"} 1.0'
    assert line in text
    assert 'source="other",status="404"' in text
    assert "made-up" not in text
    assert len(world.usage.logs) == 2, "health and metrics are no use of the API"


def test_keys_are_read_from_a_file_and_held_as_hashes(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('[keys]\nak_one = "s3cret"\nak_two = "other"\n')
    ring = KeyRing(read_keys(path))
    assert [ring.identify(key) for key in ("s3cret", "other", "", None)] == [
        "ak_one",
        "ak_two",
        None,
        None,
    ]
    assert "s3cret" not in repr(vars(ring))


@pytest.mark.parametrize(
    "text", ["", "[keys]\n", '[keys]\nak_one = ""\n', "[keys]\nak_one = 3\n", 'k = "s3cret" x']
)
def test_a_file_without_keys_is_refused_and_shows_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"keys\.toml") as refusal:
        read_keys(path)
    assert "s3cret" not in str(refusal.value)


def test_two_ids_with_one_key_are_refused() -> None:
    with pytest.raises(SettingsError, match="the same key"):
        KeyRing({"ak_one": "s3cret", "ak_two": "s3cret"})
