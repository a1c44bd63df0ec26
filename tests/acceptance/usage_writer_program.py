"""A usage writer that dies at the worst moment: after its transaction, before its messages' delete.

`python -m tests.acceptance.usage_writer_program PLAN`, with the environment of the writer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from forebay.apps.usage.linked_store import LinkedStore
from forebay.apps.usage.settings import usage_database, usage_queue, writer_settings
from forebay.apps.usage.store import Written
from forebay.apps.usage.stores import open_usage_store
from forebay.apps.usage.writer import UsageWriter, usage_router
from forebay.client.http import HttpSqsClient
from forebay.worker import Worker, WorkerSettings, run_until_signalled
from forebay.worker.packs import Pack


class Plan(msgspec.Struct):
    """What a writer is to do beside its work."""

    endpoint_url: str
    #: The commit after which it is killed by its own hand before it says so; 0 for none.
    dies_after: int = 0
    #: Write packs without their ids, as if each delivery were another pack.
    forgets_ids: bool = False


class MortalStore:
    """Commits, and dies of it when that is its turn."""

    def __init__(self, store: LinkedStore, plan: Plan) -> None:
        self._store = store
        self._plan = plan
        self._commits = 0

    async def write(self, packs: Sequence[Pack[Any]]) -> Written:
        if self._plan.forgets_ids:
            packs = [_with_another_id(pack) for pack in packs]
        written = await self._store.write(packs)
        if written.rows:
            self._commits += 1
            if self._commits == self._plan.dies_after:
                os.kill(os.getpid(), signal.SIGKILL)
        return written


def _with_another_id(pack: Pack[Any]) -> Pack[Any]:
    return Pack(str(uuid.uuid4()), pack.type, pack.node, pack.sealed, *pack.read())


async def main(plan: Plan) -> None:
    store = LinkedStore(usage_database(), open_usage_store)
    writer = UsageWriter(MortalStore(store, plan), writer_settings())
    async with store.serving(), HttpSqsClient(plan.endpoint_url) as client:
        await run_until_signalled(
            Worker(
                client,
                usage_queue(),
                usage_router(writer),
                settings=WorkerSettings(concurrency=2, wait_s=1),
                permits=[store],
            )
        )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Plan)))
