"""`forebay lab chaos`: a proxy in front of any SQS that makes things go wrong."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from msgspec.structs import replace
from rich.console import Console

from forebay.broker.faults import read_rates
from forebay.cli.connection import DEFAULT_ENDPOINT_URL, Region
from forebay.cli.demo import JsonFile, require_directory
from forebay.cli.logs import LogFormat, LogLevel, set_up_logs
from forebay.fault_injection import FaultRates
from forebay.lab.chaos.fault_options import with_faults
from forebay.lab.chaos.ledger import ChaosLedger
from forebay.lab.chaos.report import ledger_as_json, print_ledger, summary
from forebay.lab.chaos.running import ChaosSettings, running_proxy
from forebay.scaled_clock import clock_of
from forebay.stop_signals import stop_signals

#: Where the proxy listens unless the user says otherwise: the broker has 9324, workers have 9325.
DEFAULT_PORT = 9326

#: Time between two looks at what has passed, in seconds.
_LOOK_S = 0.5


def chaos(
    endpoint: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="The SQS behind the proxy: a broker, an emulator, or Amazon's own, such as"
            " https://sqs.eu-west-1.amazonaws.com.",
        ),
    ] = DEFAULT_ENDPOINT_URL,
    listen: Annotated[
        int,
        typer.Option(
            min=0, max=65_535, metavar="PORT", help="Port to listen on; 0 takes a free one."
        ),
    ] = DEFAULT_PORT,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What goes wrong, and how often: duplicate=0.1, delay=200ms,"
            " delay=2s,probability:0.05, reorder=0.3, drop-reply=0.05, throttle=20/s,"
            " throttle=0.1, partition=every:30s,for:5s, purge-loses=0.5. Can be given again.",
        ),
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The same from a TOML file, as `forebay serve --faults` has it; --fault goes"
            " before it.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Another seed draws other faults.", show_default="1")
    ] = None,
    region: Region = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Whoever reaches it uses the queues with your credentials."
        ),
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which clients reach the proxy, beside localhost and IP addresses:"
            " host.docker.internal for example. Can be given again.",
        ),
    ] = None,
    json_file: JsonFile = None,
    log_level: Annotated[
        LogLevel, typer.Option(case_sensitive=False, help="What is logged at least.")
    ] = LogLevel.INFO,
) -> None:
    """Stand between a consumer and its SQS, and let things go wrong.

    In front of a broker on this machine, a fifth of the messages comes twice
    and a tenth of the answers gets lost:

        forebay lab chaos --fault duplicate=0.2 --fault drop-reply=0.1

    Point the consumer at http://127.0.0.1:9326 instead of its SQS, as it is:
    every SDK works. Calls are signed anew, with your own AWS credentials.
    Ctrl-C ends it with a ledger: what came twice, what was never deleted.
    """
    require_directory("--json", json_file)
    rates = with_faults(FaultRates() if faults is None else read_rates(faults), fault or ())
    if seed is not None:
        rates = replace(rates, seed=seed)
    set_up_logs(LogFormat.TEXT, log_level)
    settings = ChaosSettings(
        endpoint_url=endpoint,
        rates=rates,
        host=host,
        port=listen,
        region=region,
        allow_host=tuple(allow_host or ()),
    )
    console = Console(soft_wrap=True, highlight=False)
    ledger = ChaosLedger()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, ledger, console))
    print_ledger(console, ledger)
    if json_file is not None:
        books = ledger_as_json(ledger, endpoint, rates)
        json_file.write_text(json.dumps(books, indent=2) + "\n")


async def _run(settings: ChaosSettings, ledger: ChaosLedger, console: Console) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, stop.set)
    clock = clock_of(os.environ)
    async with running_proxy(settings, clock, ledger) as proxy:
        console.print(
            f"Chaos at {proxy.endpoint_url}, in front of {settings.endpoint_url},"
            f" seed {settings.rates.seed}. Stop it with Ctrl-C."
        )
        sys.stdout.flush()
        if not console.is_terminal:
            await stop.wait()
            return
        with console.status("") as status:
            while not stop.is_set():
                status.update(summary(ledger))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LOOK_S)
