"""Asking SQS what a check of a worker needs to know."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.protocol.actions import GetQueueAttributesRequest
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import queue_key_from_arn
from forebay.worker.check import CheckedQueue, DeadLetterFacts
from forebay.worker.queue import Queue
from forebay.worker.queue_facts import is_denied, queue_facts
from forebay.worker.route import Route

if TYPE_CHECKING:
    from forebay.worker.worker import Worker

#: Somebody waits for what comes of it: a hiccup is passed over, an outage is said at once.
_RETRY = RetryPolicy(deadline_ms=1_000)

_RETENTION = "MessageRetentionPeriod"


def declared(worker: Worker) -> list[CheckedQueue]:
    """The queues of a worker as it declares them, without asking SQS."""
    return [
        CheckedQueue(queue=queue, routes=routes_of(worker, queue), asked=False)
        for queue in worker.queues
    ]


async def inspected(worker: Worker) -> list[CheckedQueue]:
    """The queues of a worker, with what SQS says of them.

    Raises what the client raises, unless it is that a queue is missing or may not be read.
    """
    return await asyncio.gather(
        *(_inspect(worker.client, queue, routes_of(worker, queue)) for queue in worker.queues)
    )


def has_plain(worker: Worker) -> bool:
    """Whether any of a worker's handlers is a plain function."""
    return any(route.plain for queue in worker.queues for route in routes_of(worker, queue))


def routes_of(worker: Worker, queue: Queue) -> Sequence[Route]:
    """The handlers that get the messages of a queue."""
    return (queue.router or worker.router).routes


async def _inspect(client: SqsClient, queue: Queue, routes: Sequence[Route]) -> CheckedQueue:
    try:
        url = await client.queue_url(queue.name, retry=_RETRY)
        attributes = await _attributes(client, url)
    except SqsError as error:
        if error.fault == QUEUE_DOES_NOT_EXIST:
            return CheckedQueue(queue=queue, routes=routes, exists=False)
        if is_denied(error):
            return CheckedQueue(queue=queue, routes=routes)
        raise
    facts = queue_facts(url, attributes)
    named = queue.dead_letter_queue or facts.dead_letter_arn
    return CheckedQueue(
        queue=queue,
        routes=routes,
        facts=facts,
        retention_s=_retention_s(attributes),
        dead_letter=None if named is None else await _dead_letters(client, named),
    )


async def _dead_letters(client: SqsClient, named: str) -> DeadLetterFacts:
    key = queue_key_from_arn(named)
    name = named.rpartition("/")[2] if key is None else key.name
    try:
        attributes = await _attributes(client, await client.queue_url(named, retry=_RETRY))
    except SqsError as error:
        if error.fault == QUEUE_DOES_NOT_EXIST:
            return DeadLetterFacts(name, exists=False)
        if is_denied(error):
            return DeadLetterFacts(name)
        raise
    return DeadLetterFacts(name, exists=True, retention_s=_retention_s(attributes))


async def _attributes(client: SqsClient, url: str) -> dict[str, str]:
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=["All"])
    return (await client.get_queue_attributes(request, retry=_RETRY)).attributes or {}


def _retention_s(attributes: dict[str, str]) -> int | None:
    retention = attributes.get(_RETENTION)
    return None if retention is None else int(retention)
