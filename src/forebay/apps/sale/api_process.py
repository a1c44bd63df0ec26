"""The API's process: Starlette under uvicorn, with its producers and its store."""

from __future__ import annotations

import os
from pathlib import Path

from forebay.apps import process
from forebay.apps.sale.api import SaleApi
from forebay.apps.sale.queues import ORDERS, USAGE_LOGS, find_queues
from forebay.apps.sale.sqlite_store import SALE_FILE, SqliteSaleStore
from forebay.apps.serving import serve_until_signalled
from forebay.apps.usage.accounts import keep_account
from forebay.client.http import HttpSqsClient
from forebay.client.retry import RetryPolicy
from forebay.producer import Producer

#: How long an order may try to reach the queue before the buyer is told to come again, in
#: milliseconds. Buyers wait a second or two, not longer.
_ORDER_DEADLINE_MS = 1_000


async def serve_api(endpoint_url: str, data_directory: Path, port: int, node: str) -> None:
    """Serve the API on this machine until a signal says to stop, then drain the producers."""
    store = await SqliteSaleStore.open(data_directory / SALE_FILE)
    async with HttpSqsClient(endpoint_url) as client:
        queues = await find_queues(client)
        usage = Producer(client, queues[USAGE_LOGS], node=node)
        brief = RetryPolicy(deadline_ms=_ORDER_DEADLINE_MS)
        async with Producer(client, queues[ORDERS], node=node, retry=brief) as orders:
            await usage.start()
            api = SaleApi(store, orders, usage, await store.sections())
            await serve_until_signalled(api.application(), port)
        ledger = await usage.close()
        keep_account(data_directory, f"{node}-{os.getpid()}", ledger)
    await store.close()


def main() -> None:
    parser = process.service_arguments(
        "forebay.apps.sale.api_process", "Serves the sale's HTTP API on this machine."
    )
    parser.add_argument("--port", required=True, type=int)
    arguments = parser.parse_args()
    process.run(serve_api(arguments.endpoint_url, arguments.data, arguments.port, arguments.node))


if __name__ == "__main__":
    main()
