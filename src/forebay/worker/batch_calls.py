"""Deleting and hiding messages in batches, and what SQS said of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from forebay.backoff import backoff_s, jitter
from forebay.client.base import SqsClient
from forebay.client.retry import entry_error, is_retryable
from forebay.clock import Clock
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import (
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.limits import BATCH_ENTRIES_MAX
from forebay.worker.lease import Lease

#: First and longest pause before entries that failed are tried again, in seconds.
_PAUSE_BASE_S = 0.1
_PAUSE_MAX_S = 5.0

_I = TypeVar("_I")


class Refused(NamedTuple):
    """SQS did not do what was asked for this message."""

    lease: Lease
    #: Whether asking again can help.
    passing: bool
    reason: str


#: Ask SQS for something for at most ten messages; what it refused.
BatchCall: TypeAlias = Callable[[Sequence[Lease]], Awaitable[list[Refused]]]


def in_tens(items: Sequence[_I]) -> Iterator[Sequence[_I]]:
    """The items in order, as many at a time as one batch holds."""
    for start in range(0, len(items), BATCH_ENTRIES_MAX):
        yield items[start : start + BATCH_ENTRIES_MAX]


async def delete(client: SqsClient, queue_url: str, leases: Sequence[Lease]) -> list[Refused]:
    """Delete at most ten messages."""
    request = DeleteMessageBatchRequest(
        queue_url=queue_url,
        entries=[
            DeleteMessageBatchRequestEntry(id=str(i), receipt_handle=lease.message.receipt_handle)
            for i, lease in enumerate(leases)
        ],
    )
    return await _refused(client.delete_message_batch(request), leases)


async def hide(
    client: SqsClient, queue_url: str, leases: Sequence[Lease], timeouts_s: Sequence[int]
) -> list[Refused]:
    """Let at most ten messages become visible after so many seconds from now; 0 is at once."""
    request = ChangeMessageVisibilityBatchRequest(
        queue_url=queue_url,
        entries=[
            ChangeMessageVisibilityBatchRequestEntry(
                id=str(i),
                receipt_handle=lease.message.receipt_handle,
                visibility_timeout=timeout_s,
            )
            for i, (lease, timeout_s) in enumerate(zip(leases, timeouts_s, strict=True))
        ],
    )
    return await _refused(client.change_message_visibility_batch(request), leases)


async def _refused(call: Awaitable[BatchResult], leases: Sequence[Lease]) -> list[Refused]:
    try:
        result = await call
    except (ServiceUnreachable, SqsError) as error:
        return [Refused(lease, is_retryable(error), str(error)) for lease in leases]
    return [
        Refused(leases[int(entry.id)], is_retryable(entry_error(entry)), str(entry_error(entry)))
        for entry in result.failed or ()
    ]


async def persist(
    call: BatchCall,
    leases: Sequence[Lease],
    *,
    clock: Clock,
    entropy: Callable[[int], bytes],
    done: Callable[[Lease], None],
    refused: Callable[[Refused], None],
) -> None:
    """Ask for at most ten messages, again and again for those whose failure may pass.

    A message is given up when its lease is over, because from then on it is somebody else's. Each
    ends in one call of `done` or `refused`, unless this is cancelled.
    """
    remaining, attempt = leases, 0
    while remaining:
        attempt += 1
        failures = {failure.lease: failure for failure in await call(remaining)}
        again = []
        for lease in remaining:
            failure = failures.get(lease)
            if failure is None:
                done(lease)
            elif failure.passing and not lease.is_over(clock.monotonic_ms()):
                again.append(lease)
            else:
                refused(failure)
        remaining = again
        if remaining:
            pause_s = backoff_s(attempt, jitter(entropy), base_s=_PAUSE_BASE_S, max_s=_PAUSE_MAX_S)
            await clock.sleep(pause_s)
