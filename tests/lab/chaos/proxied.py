"""A broker in memory and a proxy in front of it, in the loop of a test."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlencode

import boto3
from botocore.config import Config

from forebay.broker.running import running_broker
from forebay.broker.server import HttpServer
from forebay.client.http import HttpSqsClient
from forebay.client.retry import NO_RETRY
from forebay.clock import Clock, SystemClock
from forebay.fault_injection import FaultRates
from forebay.lab.chaos.ledger import ChaosLedger, QueueFigures
from forebay.lab.chaos.proxy import ChaosProxy
from forebay.lab.chaos.running import ChaosSettings, running_proxy

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")

REGION = "eu-central-1"

#: No proxy that the environment names.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def client_at(endpoint_url: str) -> HttpSqsClient:
    """A client that tries once."""
    return HttpSqsClient(endpoint_url, region=REGION, retry=NO_RETRY)


class Proxied:
    """A proxy, what is behind it, and clients of both."""

    def __init__(self, broker: HttpServer, proxy: ChaosProxy, ledger: ChaosLedger) -> None:
        self.broker_url = broker.endpoint_url
        self.url = proxy.endpoint_url
        self.ledger = ledger
        self.sqs = client_at(proxy.endpoint_url)
        self.behind = client_at(broker.endpoint_url)
        self._broker = broker

    @property
    def figures(self) -> QueueFigures:
        """The books of the only queue."""
        [figures] = self.ledger.figures().values()
        return figures

    @property
    def polls(self) -> int:
        """How many polls wait at the broker."""
        return len(self._broker._broker._polls)

    def boto3(self, region: str = REGION, attempts: int = 1) -> SQSClient:
        return boto3.client(
            "sqs",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": attempts}),
        )

    async def get(
        self, path: str = "/", headers: dict[str, str] | None = None, **form: str
    ) -> tuple[int, str]:
        """Status and body of a POST of the Query protocol, or of a GET without a form."""
        data = urlencode(form).encode() if form else None
        request = urllib.request.Request(self.url + path, data, headers or {})

        def ask() -> tuple[int, str]:
            try:
                with DIRECTLY.open(request, timeout=20) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        return await asyncio.to_thread(ask)


async def apart(call: Callable[..., T], **arguments: Any) -> T:
    """Make a blocking call of boto3's while the loop goes on."""
    return await asyncio.to_thread(call, **arguments)


@asynccontextmanager
async def proxied(
    rates: FaultRates | None = None, clock: Clock | None = None
) -> AsyncIterator[Proxied]:
    """A proxy with these faults, none unless they are given."""
    clock = clock or SystemClock()
    ledger = ChaosLedger()
    async with running_broker(None) as broker:
        settings = ChaosSettings(endpoint_url=broker.endpoint_url, rates=rates or FaultRates())
        async with running_proxy(settings, clock, ledger) as proxy:
            both = Proxied(broker, proxy, ledger)
            async with both.sqs, both.behind:
                yield both
