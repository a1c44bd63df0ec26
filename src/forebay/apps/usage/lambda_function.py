"""What an AWS Lambda function does with the messages of one invocation."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from forebay.apps.usage.linked_store import LinkedStore
from forebay.apps.usage.settings import rows_per_invocation, usage_database
from forebay.apps.usage.sqs_event import Delivered, delivered
from forebay.apps.usage.stores import open_usage_store
from forebay.apps.usage.writer import UsageWriter, parts, usage_router
from forebay.client.base import SqsClient
from forebay.clock import Clock, SystemClock
from forebay.errors import Closed, StoreError
from forebay.protocol.actions import AnyRequest, AnyResult
from forebay.worker.context import Context
from forebay.worker.execution import Execution
from forebay.worker.lease import Lease
from forebay.worker.loop_watch import LoopWatch
from forebay.worker.outcomes import Done, Failed, Outcome, Reject
from forebay.worker.queue import Queue
from forebay.worker.queue_facts import QueueFacts
from forebay.worker.received import Received
from forebay.worker.route import Route
from forebay.worker.settings import WorkerSettings
from forebay.worker.source import Source

_log = logging.getLogger(__name__)

#: Most events of one transaction, unless one pack has more. The 256 MB of document 000's function
#: hold a few times as many.
_ROWS_PER_TRANSACTION = 20_000

#: No transaction is begun with less time left than this, in milliseconds, or than twice what the
#: longest has taken.
_TIME_LEFT_MS = 1_500

#: What stands for a queue whose ARN a record does not tell.
_NO_ARN = "(unknown)"

#: How often a write is tried in one invocation: finding out that the connection has broken since
#: the last one costs a try.
_TRIES = 2


class UsageFunction:
    """Writes the messages of one invocation after the other, over one connection."""

    def __init__(self, store: LinkedStore, *, rows_max: int, clock: Clock | None = None) -> None:
        self._store = store
        self._rows_max = rows_max
        self._clock = clock or SystemClock()
        self._router = usage_router(UsageWriter(store))
        self._execution = Execution(clock=self._clock)
        self._sources: dict[str, Source] = {}

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> UsageFunction:
        """As the variables say. Raises SettingsError."""
        database = usage_database(environment=environment)
        # What it writes it writes one after the other.
        opened = partial(open_usage_store, connections_max=1)
        store = LinkedStore(database, opened, tries_max=_TRIES)
        return cls(store, rows_max=rows_per_invocation(environment))

    async def close(self) -> None:
        """Let go of the database."""
        await self._store.close()

    async def invoke(
        self, event: Mapping[str, Any], time_left_ms: Callable[[], int]
    ) -> dict[str, Any]:
        """Write what the budget of events and the time allow, and name what is to come again.

        The first part is written in any case, so that nothing is too large for ever. What comes
        again for want of time or budget has been received once more, as if it had failed, and its
        count goes on towards the queue's maxReceiveCount. What is no event comes again until that
        moves it to the dead-letter queue.

        Raises NotAnSqsEvent; and StoreError or SettingsError when the database is away and nothing
        was written. Then all of it comes again.
        """
        records = delivered(event)
        await self._store.open()
        received, again = self._read(records, time_left_ms)
        rows_left = self._rows_max
        longest_ms = 0
        written = 0
        lost: StoreError | None = None
        waiting = self._parts(received)
        while waiting:
            route, part = waiting.popleft()
            rows = sum(each.payload.events for each in part)
            enough_time = time_left_ms() >= max(_TIME_LEFT_MS, 2 * longest_ms)
            if lost is not None or (written and (rows > rows_left or not enough_time)):
                again += [each.message_id for each in part]
                continue
            began_ms = self._clock.monotonic_ms()
            outcomes = await self._execution.perform(route, part)
            longest_ms = max(longest_ms, self._clock.monotonic_ms() - began_ms)
            rows_left -= rows
            for each, outcome in zip(part, outcomes, strict=True):
                if isinstance(outcome, Done):
                    written += 1
                else:
                    again.append(each.message_id)
                    lost = lost or _lost(outcome)
        if lost is not None and not written:
            raise lost
        if again:
            _log.info("%d messages are written, and %d are to come again.", written, len(again))
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in again]}

    def _read(
        self, records: list[Delivered], time_left_ms: Callable[[], int]
    ) -> tuple[dict[Route, list[Received[Any]]], list[str]]:
        """The messages by their handlers, as a worker reads them, and the ids of what is none."""
        received: dict[Route, list[Received[Any]]] = {}
        strange = []
        for record in records:
            try:
                if record.message is None:
                    raise Reject(f"The record is not as AWS documents it: {record.problem}.")
                source = self._source(record.queue_arn)
                now_ms = self._clock.monotonic_ms()
                until_ms = now_ms + time_left_ms()
                lease = Lease(record.message, source, now_ms, now_ms, until_ms)
                routed = self._router.route(lease)
            except Reject as rejection:
                _log.error("Message %s is no event: %s", record.message_id, rejection.reason)
                strange.append(record.message_id)
            else:
                received.setdefault(routed.route, []).append(routed.received)
        return received, strange

    def _parts(
        self, received: dict[Route, list[Received[Any]]]
    ) -> deque[tuple[Route, list[Received[Any]]]]:
        rows_max = min(_ROWS_PER_TRANSACTION, self._rows_max)
        return deque(
            (route, list(part))
            for route, messages in received.items()
            for part in parts(messages, rows_max)
        )

    def _source(self, arn: str) -> Source:
        source = self._sources.get(arn)
        if source is None:
            context = Context(
                client=_NoSqs(),
                settings=WorkerSettings(),
                clock=self._clock,
                entropy=os.urandom,
                spawn=lambda coroutine: coroutine.close(),
                changed=lambda: None,
                loop_watch=LoopWatch(self._clock),
            )
            facts = QueueFacts(url=arn, arn=arn)
            source = self._sources[arn] = Source(context, Queue(arn or _NO_ARN), facts)
        return source


def _lost(outcome: Outcome) -> StoreError | None:
    """The error of a handler that found the database away."""
    if isinstance(outcome, Failed) and isinstance(outcome.error, StoreError):
        return outcome.error
    return None


class _NoSqs(SqsClient):
    """AWS receives and deletes for a function."""

    async def call(self, request: AnyRequest, **_: Any) -> AnyResult:
        raise Closed(f"A Lambda function asks nothing of SQS: {type(request).__name__}.")
