"""The order workers' process."""

from __future__ import annotations

from pathlib import Path

from forebay.apps import process
from forebay.apps.sale.domain import Order
from forebay.apps.sale.queues import DEAD_LETTER_QUEUES, ORDERS, find_queues
from forebay.apps.sale.sqlite_store import SALE_FILE, SqliteSaleStore
from forebay.apps.sale.workers import order_router
from forebay.client.http import HttpSqsClient
from forebay.worker import Queue, Worker, WorkerSettings, run_until_signalled


async def decide_orders(
    endpoint_url: str, data_directory: Path, visibility_timeout_s: int, bug_marker: str | None
) -> None:
    """Decide orders until a signal says to stop.

    Orders whose note is `bug_marker` crash their handler.
    """

    def crash_on_marker(order: Order) -> None:
        if bug_marker is not None and order.note == bug_marker:
            raise RuntimeError(f"a bug with orders whose note is {bug_marker}")

    async with HttpSqsClient(endpoint_url) as client:
        queues = await find_queues(client)
        store = await SqliteSaleStore.open(data_directory / SALE_FILE)
        worker = Worker(
            client,
            Queue(queues[ORDERS], dead_letter_queue=queues[DEAD_LETTER_QUEUES[ORDERS]]),
            order_router(store, before_deciding=crash_on_marker),
            settings=WorkerSettings(
                wait_s=1,
                visibility_timeout_s=visibility_timeout_s,
                # An order that fails holds up its section until its next receive.
                backoff_max_s=1.0,
            ),
        )
        try:
            await run_until_signalled(worker)
        finally:
            await store.close()


def main() -> None:
    parser = process.service_arguments("forebay.apps.sale.order_process", "Decides orders.")
    parser.add_argument("--bug-marker", help="crash on orders with this note")
    arguments = parser.parse_args()
    process.run(
        decide_orders(
            arguments.endpoint_url,
            arguments.data,
            arguments.visibility_timeout_s,
            arguments.bug_marker,
        )
    )


if __name__ == "__main__":
    main()
