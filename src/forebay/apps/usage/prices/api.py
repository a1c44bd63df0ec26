"""The price API: `GET /prices/BTC?source=binance`. Every request is logged; none waits for that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.apps.usage.prices.exchange import ASSETS, SOURCES, ExchangeDown
from forebay.apps.usage.prices.keys import UNKNOWN_KEY, KeyRing
from forebay.apps.usage.prices.metrics import METRICS_CONTENT_TYPE, PriceMetrics
from forebay.apps.usage.prices.tiers import NOWHERE, Found
from forebay.producer import ProducerLedger

#: The source that is asked when a request names none.
SOURCE_DEFAULT = next(iter(SOURCES))

#: Most characters of an unknown asset or source that are logged: whoever asks writes them.
NAME_CHARACTERS_MAX = 32

_log = logging.getLogger(__name__)


class UsageQueue(Protocol):
    """The fire-and-forget face of a Producer, and its account."""

    def send(self, type: str, payload: object) -> bool: ...  # noqa: A002

    @property
    def ledger(self) -> ProducerLedger: ...


class PriceFinder(Protocol):
    """What finds prices: Prices."""

    async def find(self, asset: str, source: str) -> Found: ...


class _Answer(Struct):
    """What goes back, and what the usage log says of it."""

    http_status: int
    body: object
    tier: str = NOWHERE


class _ErrorAnswer(Struct, omit_defaults=True):
    error: str
    known: Sequence[str] = ()


class PriceApi:
    """Answers with prices, and logs who asked for what and how long it took."""

    def __init__(
        self,
        prices: PriceFinder,
        usage: UsageQueue,
        keys: KeyRing,
        *,
        node: str,
        metrics: PriceMetrics,
        elapsed_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._prices = prices
        self._usage = usage
        self._keys = keys
        self._node = node
        self._metrics = metrics
        self._elapsed_ns = elapsed_ns

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/prices/{asset}", self._get_price, methods=["GET"]),
                Route("/health", self._get_health, methods=["GET"]),
                Route("/metrics", self._get_metrics, methods=["GET"]),
            ]
        )

    async def _get_price(self, request: Request) -> Response:
        started_ns = self._elapsed_ns()
        asset = request.path_params["asset"].upper()
        source = request.query_params.get("source", SOURCE_DEFAULT).lower()
        key_id = self._keys.identify(request.headers.get("x-api-key"))
        answer = await self._answer(key_id, asset, source)
        spent_us = (self._elapsed_ns() - started_ns) // 1000
        self._usage.send(
            USAGE_LOG_TYPE,
            UsageLog(
                api_key_id=key_id or UNKNOWN_KEY,
                asset=asset[:NAME_CHARACTERS_MAX],
                source=source[:NAME_CHARACTERS_MAX],
                response_time_us=spent_us,
                cache_tier=answer.tier,
                http_status=answer.http_status,
            ),
        )
        self._metrics.count(source, answer.tier, answer.http_status, spent_us / 1_000_000)
        return _json(answer.body, answer.http_status)

    async def _answer(self, key_id: str | None, asset: str, source: str) -> _Answer:
        if key_id is None:
            said = "The header X-Api-Key is missing, or no key of ours. Send yours with it."
            return _Answer(401, _ErrorAnswer(said))
        for name, value, known in (("asset", asset, ASSETS), ("source", source, SOURCES)):
            if value not in known:
                said = f"There is no {name} {value[:NAME_CHARACTERS_MAX]!r}."
                return _Answer(404, _ErrorAnswer(said, list(known)))
        try:
            found = await self._prices.find(asset, source)
        except ExchangeDown as error:
            return _Answer(503, _ErrorAnswer(str(error)))
        except Exception:
            _log.exception("%s of %s was not found", asset, source)
            return _Answer(500, _ErrorAnswer("Something went wrong here. Ask again."))
        return _Answer(200, found, found.tier)

    async def _get_health(self, _: Request) -> Response:
        """Healthy whatever the queue does: the price does not depend on it."""
        return _json({"status": "ok", "node": self._node, "usage": self._usage.ledger}, 200)

    async def _get_metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type=METRICS_CONTENT_TYPE)


def _json(body: object, http_status: int) -> Response:
    return Response(
        msgspec.json.encode(body), status_code=http_status, media_type="application/json"
    )
