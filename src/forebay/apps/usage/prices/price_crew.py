"""Several processes of the price API, as the command and the demo start them."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from forebay.apps.crew import Crew, python

#: How long a process may take to start, and to stop: it sends what is buffered first. In seconds.
_START_S = 20.0
_STOP_S = 20.0


class PriceSettings(Struct, frozen=True, kw_only=True):
    """What the processes of a price API have in common."""

    queue: str
    #: Where the second tier is, and where final ledgers are written to.
    data: Path
    host: str = "127.0.0.1"
    #: A file with the API keys; the demo's keys without it.
    keys: Path | None = None
    #: Where logs wait while SQS is away; in memory without it.
    spill: Path | None = None
    seed: int = 1
    #: When the prices began to move, in milliseconds since the Unix epoch.
    began_ms: int


async def start_prices(crew: Crew, settings: PriceSettings, ports: dict[str, int]) -> None:
    """Start a process for each name at its port, and wait until all of them listen.

    Where SQS and their parameters are they learn from the environment. Raises ProcessHangs.
    """
    for node, port in ports.items():
        await crew.start(
            node,
            python(
                *("-m", "forebay.apps.usage.prices.price_process"),
                *("--queue", settings.queue),
                *("--data", str(settings.data)),
                *("--node", node),
                *("--host", settings.host),
                *("--port", str(port)),
                *(() if settings.keys is None else ("--keys", str(settings.keys))),
                *(() if settings.spill is None else ("--spill", str(settings.spill))),
                *("--seed", str(settings.seed)),
                *("--began-ms", str(settings.began_ms)),
            ),
        )
    for node, port in ports.items():
        await crew.listening(node, port, _START_S)


async def stop_prices(crew: Crew, ports: dict[str, int]) -> None:
    """Let all processes finish their requests and send their logs.

    Raises ProcessHangs and ProcessDied.
    """
    for node in ports:
        await crew.stop(node, _STOP_S)
