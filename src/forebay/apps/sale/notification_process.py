"""The process that empties the outbox and sends the notifications."""

from __future__ import annotations

import asyncio
from pathlib import Path

from forebay.apps import process
from forebay.apps.sale.notifications import (
    NOTIFICATIONS_FILE,
    SqliteNotificationLog,
    notification_router,
)
from forebay.apps.sale.outbox import OutboxRelay
from forebay.apps.sale.queues import NOTIFICATIONS, find_queues
from forebay.apps.sale.sqlite_store import SALE_FILE, SqliteSaleStore
from forebay.client.http import HttpSqsClient
from forebay.idempotency import Guard
from forebay.producer import Producer
from forebay.worker import Worker, WorkerSettings, run_until_signalled

#: Notifications on their way to the gateway at once.
_CONCURRENCY = 64


async def send_notifications(
    endpoint_url: str, data_directory: Path, visibility_timeout_s: int, node: str
) -> None:
    """Relay and send until a signal says to stop."""
    async with HttpSqsClient(endpoint_url) as client:
        queues = await find_queues(client)
        store = await SqliteSaleStore.open(data_directory / SALE_FILE)
        gateway = await SqliteNotificationLog.open(data_directory / NOTIFICATIONS_FILE)
        worker = Worker(
            client,
            queues[NOTIFICATIONS],
            notification_router(gateway, Guard(gateway.leases)),
            settings=WorkerSettings(
                concurrency=_CONCURRENCY,
                wait_s=1,
                visibility_timeout_s=visibility_timeout_s,
            ),
        )
        async with Producer(client, queues[NOTIFICATIONS], node=node) as producer:
            relay = OutboxRelay(store, producer)
            relaying = asyncio.create_task(relay.run())
            try:
                await run_until_signalled(worker)
            finally:
                relay.stop()
                await relaying
        await gateway.close()
        await store.close()


def main() -> None:
    parser = process.service_arguments(
        "forebay.apps.sale.notification_process",
        "Relays the outbox to its queue and sends what comes through it.",
    )
    arguments = parser.parse_args()
    process.run(
        send_notifications(
            arguments.endpoint_url,
            arguments.data,
            arguments.visibility_timeout_s,
            arguments.node,
        )
    )


if __name__ == "__main__":
    main()
