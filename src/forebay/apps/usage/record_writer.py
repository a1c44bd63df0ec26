"""From the usage-logs queue into the store."""

from __future__ import annotations

from forebay.apps.usage.domain import USAGE_LOG_TYPE, UsageLog
from forebay.apps.usage.record_store import UsageRecord, UsageStore
from forebay.worker import Received, Reject, Router


def usage_router(store: UsageStore) -> Router:
    """The handlers of the usage writer, one for each type of log.

    What is not a log of a known type is rejected by the worker.
    """
    router = Router()

    @router.handler(USAGE_LOG_TYPE, UsageLog)
    async def write(received: Received[UsageLog]) -> None:
        envelope = received.envelope
        if envelope is None:
            raise Reject("A usage log is written with its envelope's id; this one has no envelope.")
        await store.insert(
            UsageRecord(envelope.id, envelope.timestamp, envelope.node, received.payload)
        )

    return router
