"""The outside service as a process of its own, on this machine alone."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from forebay.apps import process
from forebay.apps.serving import serve_until_signalled
from forebay.clock import Clock
from forebay.lab.outside.ledger import EffectLedger
from forebay.lab.outside.service import OutsideService
from forebay.lab.outside.wire import OutsideSettings
from forebay.scaled_clock import clock_of


async def serve_outside(
    ledger_path: Path,
    *,
    clock: Clock,
    port: int = 0,
    settings: OutsideSettings | None = None,
    listening: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve on this machine until a signal says to stop. Effects that wait then are not done.

    `listening` is called with the service's URL once it can be connected to.
    """
    ledger = await EffectLedger.open(ledger_path)
    service = OutsideService(ledger, clock=clock, settings=settings)
    try:
        await serve_until_signalled(
            service.application(),
            port,
            listening=lambda taken: listening(f"http://127.0.0.1:{taken}"),
            stopping=service.stop,
        )
    finally:
        await ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m forebay.lab.outside.process",
        description="A service outside of yours, for trying what happens to effects there. It"
        " prints its URL, and stops at SIGTERM.",
    )
    parser.add_argument("--ledger", required=True, type=Path, metavar="FILE")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--delay-s", type=float, default=0.0, help="how long each effect takes, in seconds"
    )
    parser.add_argument(
        "--decline", action="append", default=[], help="an action or subject that is declined"
    )
    arguments = parser.parse_args()
    process.run(
        serve_outside(
            arguments.ledger,
            clock=clock_of(os.environ),
            port=arguments.port,
            settings=OutsideSettings(delay_s=arguments.delay_s, declines=tuple(arguments.decline)),
            listening=lambda url: print(url, flush=True),
        )
    )


if __name__ == "__main__":
    main()
