"""The usage writer's process."""

from __future__ import annotations

from pathlib import Path

from forebay.apps import process
from forebay.apps.usage.queues import USAGE_LOGS_QUEUE
from forebay.apps.usage.record_store import USAGE_FILE, SqliteUsageStore
from forebay.apps.usage.record_writer import usage_router
from forebay.client.http import HttpSqsClient
from forebay.worker import Worker, WorkerSettings, run_until_signalled

#: Rows that may wait for their insert at once: a few times what one transaction takes.
_CONCURRENCY = 500


async def write_usage_logs(
    endpoint_url: str, data_directory: Path, visibility_timeout_s: int
) -> None:
    """Store usage logs until a signal says to stop."""
    async with HttpSqsClient(endpoint_url) as client:
        store = await SqliteUsageStore.open(data_directory / USAGE_FILE)
        worker = Worker(
            client,
            await client.queue_url(USAGE_LOGS_QUEUE),
            usage_router(store),
            settings=WorkerSettings(
                concurrency=_CONCURRENCY,
                wait_s=1,
                visibility_timeout_s=visibility_timeout_s,
            ),
        )
        try:
            await run_until_signalled(worker)
        finally:
            await store.close()


def main() -> None:
    parser = process.service_arguments(
        "forebay.apps.usage.writer_process",
        "Writes what comes through the usage-logs queue into a SQLite file.",
    )
    arguments = parser.parse_args()
    process.run(
        write_usage_logs(arguments.endpoint_url, arguments.data, arguments.visibility_timeout_s)
    )


if __name__ == "__main__":
    main()
