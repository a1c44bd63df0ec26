"""Messages and leases as the worker's tests need them."""

from __future__ import annotations

import asyncio
import random

from forebay.client.base import SqsClient
from forebay.client.fake import ScriptedSqsClient
from forebay.clock import Clock, ManualClock
from forebay.errors import ServiceUnreachable
from forebay.messages.envelope import encode_envelope
from forebay.messages.packing import PACK_ATTRIBUTE, SealedPack, seal
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    Message,
    MessageAttributes,
    MessageAttributeValue,
)
from forebay.worker.context import Context
from forebay.worker.lease import Lease, State
from forebay.worker.loop_watch import LoopWatch
from forebay.worker.queue import Queue
from forebay.worker.queue_facts import queue_facts
from forebay.worker.settings import WorkerSettings
from forebay.worker.source import Source


def message(
    identifier: str = "m-1",
    body: str = "hello",
    *,
    group_id: str | None = None,
    receive_count: int = 1,
    attributes: MessageAttributes | None = None,
    trace_header: str | None = None,
) -> Message:
    system = {"ApproximateReceiveCount": str(receive_count), "SentTimestamp": "1700000000123"}
    if group_id is not None:
        system |= {"MessageGroupId": group_id, "SequenceNumber": "18850000000000000001"}
    if trace_header is not None:
        system["AWSTraceHeader"] = trace_header
    return Message(
        message_id=identifier,
        receipt_handle=f"handle of {identifier}",
        md5_of_body="",
        body=body,
        attributes=system,
        message_attributes=attributes,
    )


def context(
    client: SqsClient | None = None,
    *,
    clock: Clock | None = None,
    settings: WorkerSettings | None = None,
    tasks: list[asyncio.Task[None]] | None = None,
) -> Context:
    """What a worker's parts share. What they start is kept in `tasks`."""
    started: list[asyncio.Task[None]] = [] if tasks is None else tasks
    clock = clock or ManualClock(0)
    return Context(
        client=client or ScriptedSqsClient(_no_answer),
        settings=settings or WorkerSettings(),
        clock=clock,
        entropy=random.Random(1).randbytes,
        spawn=lambda coroutine: started.append(asyncio.ensure_future(coroutine)),
        changed=lambda: None,
        loop_watch=LoopWatch(clock),
    )


async def _no_answer(request: AnyRequest) -> AnyResult:
    raise ServiceUnreachable(f"Nothing answers this {type(request).__name__}.")


def source(
    shared: Context | None = None,
    url: str = "http://sqs.test/000000000000/jobs",
    **attributes: str,
) -> Source:
    """A queue with these attributes, as a worker has it."""
    return Source(shared or context(), Queue(url), queue_facts(url, attributes))


def lease(
    identifier: str = "m-1",
    group_id: str | None = None,
    *,
    body: str = "hello",
    attributes: MessageAttributes | None = None,
    received_at_ms: int = 0,
    hidden_at_ms: int | None = None,
    until_ms: int = 30_000,
    receive_count: int = 1,
    state: State = State.WAITING,
    of: Source | None = None,
) -> Lease:
    """A lease on its own. Those that end must be `taken` from a source."""
    return Lease(
        message(
            identifier,
            body,
            group_id=group_id,
            receive_count=receive_count,
            attributes=attributes,
        ),
        of or source(),
        received_at_ms,
        received_at_ms if hidden_at_ms is None else hidden_at_ms,
        until_ms,
        group_id,
        state,
    )


def envelope(
    message_type: str, payload: object, *, identifier: str = "e-1", key: str | None = None
) -> str:
    return encode_envelope(
        identifier, message_type, "2026-11-22T08:26:00.123Z", "api-1", payload, key=key
    )


def sealed(
    records: list[bytes], message_type: str = "usage_log", *, identifier: str = "p-1"
) -> SealedPack:
    """A pack of records, from the node api-1."""
    return seal(
        records, identifier=identifier, type=message_type, node="api-1", first_ms=1, last_ms=2
    )


def pack_attributes(content: bytes) -> MessageAttributes:
    return {PACK_ATTRIBUTE: MessageAttributeValue(data_type="Binary", binary_value=content)}


def pack_lease(pack: SealedPack) -> Lease:
    """A lease on a message that holds a pack."""
    return lease(body=pack.body.decode(), attributes=pack_attributes(pack.content))
