"""`forebay demo`: a flash sale on the embedded broker, with crashes, and its ledger."""

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
from forebay.apps.sale.demo import DemoResult, DemoSettings, run_demo
from forebay.apps.sale.report import json_report, print_report
from forebay.errors import ForebayError, SettingsError
from forebay.stop_signals import INTERRUPTED

#: What the sale and its buyers need and the broker does not.
_EXTRA = ("aiohttp", "starlette", "uvicorn")


#: The file for the figures of a demo.
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        dir_okay=False,
        writable=True,
        help="Write the figures to a file as JSON.",
    ),
]


def require_directory(option: str, file: Path | None) -> None:
    """Raise SettingsError now for a file that could not be written in the end."""
    if file is not None and not file.absolute().parent.is_dir():
        raise SettingsError(f"{option} {file}: that directory does not exist.")


class DemoExtraMissing(ForebayError):
    """The demo needs more than the broker. Run: pip install aiohttp starlette uvicorn"""


def demo(
    buyers: Annotated[int, typer.Option(help="How many buyers come.")] = 10_000,
    seats: Annotated[int, typer.Option(help="How many seats there are for them.")] = 5_000,
    sections: Annotated[int, typer.Option(help="How many sections the seats are in.")] = 10,
    seed: Annotated[int, typer.Option(help="Another seed makes other buyers.")] = 1,
    json_file: JsonFile = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data and the logs.")] = False,
) -> None:
    """Sell tickets to more buyers than there are seats, with crashes, and account for every order.

    A small one, whose data and logs stay:

        forebay demo --buyers 1000 --seats 500 --keep

    In mid-sale a worker and then the broker are killed with SIGKILL and started again. The exit
    code is 0 only if every invariant holds.
    """
    if not all(find_spec(name) for name in _EXTRA):
        raise DemoExtraMissing
    settings = DemoSettings(buyers=buyers, seats=seats, sections=sections, seed=seed, keep=keep)
    require_directory("--json", json_file)
    console = Console()
    try:
        result = asyncio.run(_run(settings, console))
    except (KeyboardInterrupt, asyncio.CancelledError) as stopped:
        console.print("Stopped, and every process of the demo with it.")
        raise typer.Exit(INTERRUPTED) from stopped
    print_report(console, result)
    if json_file is not None:
        json_file.write_text(json.dumps(json_report(result), indent=2) + "\n")
    if not result.ok:
        raise typer.Exit(1)


async def _run(settings: DemoSettings, console: Console) -> DemoResult:
    """The demo, which SIGTERM stops as Ctrl-C does."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    if console.is_terminal:
        with BarAudience(console) as bars:
            return await run_demo(settings, bars)
    return await run_demo(settings, LineAudience(console))
