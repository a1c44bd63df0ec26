"""The load generator's process. It ends when every buyer was accepted or gave up."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from forebay.apps import process
from forebay.apps.sale.catalogue import EVENT, divide_seats
from forebay.apps.sale.load import Buyers, plan_purchases

_log = logging.getLogger(__name__)


async def send_buyers(arguments: argparse.Namespace) -> None:
    """Have all buyers buy. Ends the process with exit code 1 when one of them got no answer."""
    purchases = plan_purchases(
        divide_seats(arguments.seats, arguments.sections),
        buyers=arguments.buyers,
        apis=len(arguments.api_url),
        seed=arguments.seed,
    )
    buyers = Buyers(EVENT, arguments.api_url, seed=arguments.seed)
    buying = asyncio.ensure_future(buyers.buy(purchases))

    def stop() -> None:
        buying.cancel()

    process.on_stop_signal(stop)
    report = await buying
    _log.info("%s", report)
    if report.gave_up or report.refused:
        sys.exit(f"{report.gave_up} buyers gave up and {report.refused} were refused.")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m forebay.apps.sale.load_process", description="The buyers of the demo."
    )
    parser.add_argument("--api-url", required=True, action="append")
    parser.add_argument("--buyers", required=True, type=int)
    parser.add_argument("--seats", required=True, type=int)
    parser.add_argument("--sections", required=True, type=int)
    parser.add_argument("--seed", required=True, type=int)
    process.run(send_buyers(parser.parse_args()))


if __name__ == "__main__":
    main()
