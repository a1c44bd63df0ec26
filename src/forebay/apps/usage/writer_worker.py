"""The worker of `forebay usage writer`, which finds it here by its name.

The environment says where its queue and its database are, and how it works: see settings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay.apps.usage.linked_store import LinkedStore, quiet_pool
from forebay.apps.usage.settings import (
    usage_database,
    usage_queue,
    writer_settings,
)
from forebay.apps.usage.stores import open_usage_store
from forebay.apps.usage.writer import UsageWriter, usage_router
from forebay.client.http import HttpSqsClient
from forebay.worker import Worker, WorkerSettings
from forebay.worker.snapshot import Count

#: Batches that are written at the same time: one is read while another is with the database.
_CONCURRENCY = 2

#: Receives at the same time. Packs are few and large, and each receive is billed: sixteen at a time
#: found nothing in more than nine of ten. Plain envelopes by the thousand want more of them, which
#: the parameter worker_pollers gives.
_POLLERS = 2


@asynccontextmanager
async def writer() -> AsyncIterator[Worker]:
    """A worker that writes what comes through the usage queue.

    Raises SettingsError when the environment is wrong. A database that is away is waited for.
    """
    quiet_pool()
    queue = usage_queue()
    store = LinkedStore(usage_database(), open_usage_store)
    written = UsageWriter(store, writer_settings())
    async with store.serving(), HttpSqsClient() as client:
        yield Worker(
            client,
            queue,
            usage_router(written),
            settings=WorkerSettings(concurrency=_CONCURRENCY, pollers=_POLLERS),
            permits=[store],
            counts=lambda: [*written.counts(), _retries(store)],
        )


def _retries(store: LinkedStore) -> Count:
    return Count(
        "usage_database_retries",
        "Writes that were tried again because the database was away",
        store.retries,
    )
