"""The process of the price API's clients. It ends when the last answer is there."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import msgspec

from forebay.apps import process
from forebay.apps.usage.prices.keys import DEMO_KEYS
from forebay.apps.usage.prices.load import Clients

_log = logging.getLogger(__name__)


async def send_requests(arguments: argparse.Namespace) -> None:
    """Have all clients ask. Ends the process with exit code 1 when a request got no answer."""
    clients = Clients(arguments.api_url, list(DEMO_KEYS.values()), seed=arguments.seed)
    asking = asyncio.ensure_future(clients.ask(arguments.rate, arguments.seconds))

    def stop() -> None:
        asking.cancel()

    process.on_stop_signal(stop)
    report = await asking
    _log.info("%s", report)
    arguments.report.write_bytes(msgspec.json.encode(report))
    if report.unanswered:
        sys.exit(f"{report.unanswered} requests were not answered.")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m forebay.apps.usage.prices.load_process",
        description="The clients of the price API.",
    )
    parser.add_argument("--api-url", required=True, action="append")
    parser.add_argument("--rate", required=True, type=float, help="requests a second")
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", required=True, type=Path, metavar="FILE")
    process.run(send_requests(parser.parse_args()))


if __name__ == "__main__":
    main()
