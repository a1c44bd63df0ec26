"""`forebay usage serve-demo`: the price API, which logs every request without waiting."""

from __future__ import annotations

import asyncio
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forebay.apps.crew import Crew
from forebay.apps.usage.prices.keys import DEMO_KEYS, KeyRing, read_keys
from forebay.apps.usage.prices.price_crew import PriceSettings, start_prices, stop_prices
from forebay.apps.usage.queues import USAGE_LOGS_QUEUE, find_or_declare_usage_queue
from forebay.cli.connection import (
    Aws,
    Connection,
    EndpointUrl,
    Region,
    choose_place,
    give_place,
)
from forebay.cli.worker.processes import Parameters, give_parameters
from forebay.clock import SystemClock
from forebay.errors import ForebayError, ServiceUnreachable, SettingsError
from forebay.stop_signals import stop_signals

#: What the price API needs and the broker does not.
_EXTRA = ("starlette", "uvicorn")

#: Where the first process listens unless it is told otherwise.
_PORT_DEFAULT = 8_400


class UsageExtraMissing(ForebayError):
    """The price API needs more than the broker. Run: pip install starlette uvicorn"""


def serve_demo(
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of the first process.")
    ] = _PORT_DEFAULT,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="How many processes, on ports one after the other.")
    ] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    queue: Annotated[
        str | None,
        typer.Option(
            envvar="SQS_USAGE_LOG_QUEUE_URL",
            metavar="QUEUE",
            help="Name, URL or ARN of the queue for the logs.",
            show_default="the usage queue, made if it is not there",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The API keys: TOML, a table [keys] of ids and keys.",
            show_default="the keys demo-key-1 to demo-key-4",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            metavar="DIRECTORY",
            help="Where the processes share prices and leave their final ledgers.",
            show_default="a temporary one",
        ),
    ] = None,
    spill: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            metavar="DIRECTORY",
            help="Where logs wait while SQS is away, also over restarts.",
            show_default="in memory; when that is full they are dropped",
        ),
    ] = None,
    parameters: Parameters = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other prices.")] = 1,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Serve simulated prices, and log every request into the usage queue without waiting for it.

    With a broker on this machine (forebay serve):

        forebay usage serve-demo --processes 2

        curl -H "X-Api-Key: demo-key-1" http://127.0.0.1:8400/prices/BTC

    Add ?source=kraken for another exchange. Each process has /health and
    /metrics. Ctrl-C lets requests finish and sends the logs that are
    buffered.
    """
    if not all(find_spec(name) for name in _EXTRA):
        raise UsageExtraMissing
    last_port = port + processes - 1
    if last_port > 65_535:
        raise SettingsError(f"--port {port} leaves no room for {processes} processes.")
    if parameters is not None:
        give_parameters(parameters)
    KeyRing(DEMO_KEYS if keys is None else read_keys(keys))
    place = choose_place(endpoint_url, aws, region, queue)
    with Connection(place) as sqs:
        try:
            if queue is None:
                found = sqs.run(find_or_declare_usage_queue(sqs.client))
            else:
                with sqs.queue(queue) as url:
                    found = url
        except ServiceUnreachable as error:
            # An API is to answer whatever becomes of its logs.
            found = queue or USAGE_LOGS_QUEUE
            Console(stderr=True).print(f"Logs wait until SQS is there: {error}", soft_wrap=True)
    give_place(place)
    with tempfile.TemporaryDirectory(prefix="forebay-prices-") as temporary:
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
        settings = PriceSettings(
            queue=found,
            data=data or Path(temporary),
            host=host,
            keys=None if keys is None else keys.absolute(),
            spill=None if spill is None else spill.absolute(),
            seed=seed,
            began_ms=SystemClock().wall_ms(),
        )
        ports = {f"prices-{number + 1}": port + number for number in range(processes)}
        asyncio.run(_serve(settings, ports))


async def _serve(settings: PriceSettings, ports: dict[str, int]) -> None:
    """Run the processes until a signal says to stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    console = Console(stderr=True)
    async with Crew(None) as crew:
        await crew.guard(start_prices(crew, settings, ports))
        for node, port in ports.items():
            console.print(f"{node} serves on http://{settings.host}:{port}", soft_wrap=True)
        await crew.guard(stop.wait())
        await crew.guard(stop_prices(crew, ports))
