"""One process of the price API: it answers, and logs into the usage queue."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from forebay.apps import process
from forebay.apps.serving import serve_until_signalled
from forebay.apps.usage.accounts import keep_account
from forebay.apps.usage.domain import PACKED_TYPES
from forebay.apps.usage.prices.api import PriceApi
from forebay.apps.usage.prices.exchange import Exchanges
from forebay.apps.usage.prices.keys import DEMO_KEYS, KeyRing, read_keys
from forebay.apps.usage.prices.metrics import PriceMetrics
from forebay.apps.usage.prices.tiers import CACHE_FILE, Prices, SharedFile
from forebay.client.base import SqsClient
from forebay.client.http import HttpSqsClient
from forebay.clock import SystemClock
from forebay.observability.producers import observe_producers
from forebay.parameters.address import VARIABLE as PARAMETERS_VARIABLE
from forebay.producer import Producer, ProducerSettings, WhenFull
from forebay.tunables import following

#: How long what is buffered may take to be sent when the process stops, in seconds: when the rest
#: is lost, and when it is spilled and sent by the next process.
_DRAIN_S, _DRAIN_BEFORE_SPILL_S = 10.0, 2.0


async def serve_prices(arguments: argparse.Namespace) -> None:
    """Serve prices on this machine until a signal says to stop, then send what is buffered."""
    clock = SystemClock()
    data: Path = arguments.data
    keys = DEMO_KEYS if arguments.keys is None else read_keys(arguments.keys)
    shared = await SharedFile.open(data / CACHE_FILE)
    exchanges = Exchanges(
        seed=arguments.seed, began_ms=arguments.began_ms, clock=clock, node=arguments.node
    )
    prices = Prices(shared, exchanges.ask, clock=clock)
    async with HttpSqsClient() as client:
        usage = _producer(client, arguments)
        await usage.start()
        metrics = PriceMetrics()
        observe_producers(usage, registry=metrics.registry)
        api = PriceApi(prices, usage, KeyRing(keys), node=arguments.node, metrics=metrics)
        try:
            async with following(os.environ.get(PARAMETERS_VARIABLE), producer=usage):
                await serve_until_signalled(api.application(), arguments.port, arguments.host)
        finally:
            ledger = await usage.close(
                _DRAIN_S if arguments.spill is None else _DRAIN_BEFORE_SPILL_S
            )
            keep_account(data, f"{arguments.node}-{os.getpid()}", ledger)
    await prices.close()
    await shared.close()


def _producer(client: SqsClient, arguments: argparse.Namespace) -> Producer:
    return Producer(
        client,
        arguments.queue,
        node=arguments.node,
        packed=PACKED_TYPES,
        settings=ProducerSettings(
            when_full=WhenFull.DROP if arguments.spill is None else WhenFull.SPILL
        ),
        spill=arguments.spill,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m forebay.apps.usage.prices.price_process",
        description="Serves prices on this machine. The environment says where SQS is, and where"
        " parameters are.",
    )
    parser.add_argument("--queue", required=True, help="its name or URL")
    parser.add_argument("--data", required=True, type=Path, metavar="DIRECTORY")
    parser.add_argument("--node", required=True, help="the name of this process")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--keys", type=Path, metavar="FILE")
    parser.add_argument("--spill", type=Path, metavar="DIRECTORY")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--began-ms", required=True, type=int, help="when all walks begin")
    process.run(serve_prices(parser.parse_args()))


if __name__ == "__main__":
    main()
