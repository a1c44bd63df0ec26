"""Queues that appear when a request names them, for tests and first steps."""

from __future__ import annotations

from msgspec.structs import replace

from forebay.broker.core.engine import Caller, Engine
from forebay.protocol.actions import (
    AnyRequest,
    CreateQueueRequest,
    DeleteQueueRequest,
    GetQueueUrlRequest,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX, QueueKey, queue_key_from_url


def named_queue(request: AnyRequest, caller: Caller) -> QueueKey | None:
    """The queue that a request may bring into being; None for a request that brings none.

    A queue that somebody wants to delete is not made for that, nor one that only an ARN names: a
    policy or a task with a misspelt ARN is to fail.
    """
    if isinstance(request, GetQueueUrlRequest):
        account_id = request.queue_owner_aws_account_id or caller.account_id
        return QueueKey(caller.region, account_id, request.queue_name)
    url = getattr(request, "queue_url", None)
    if url is None or isinstance(request, DeleteQueueRequest):
        return None
    return queue_key_from_url(url, caller.region, caller.account_id)


def creation_of(key: QueueKey) -> CreateQueueRequest:
    """The request that creates a queue: a FIFO queue if its name says so."""
    attributes = {"FifoQueue": "true"} if key.name.endswith(FIFO_SUFFIX) else None
    return CreateQueueRequest(queue_name=key.name, attributes=attributes)


def create_missing(engine: Engine, request: AnyRequest, caller: Caller, now_ms: int) -> bool:
    """Create the queue that a request names. Answers whether it is there now and was not before."""
    key = named_queue(request, caller)
    if key is None or engine.find_policy(key) is not None:
        return False
    owner = replace(caller, account_id=key.account_id, region=key.region)
    try:
        engine.apply(creation_of(key), owner, now_ms)
    except SqsError:
        return False
    return True
