"""Deleting and hiding messages in batches, and what SQS said of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from forebay.backoff import backoff_s, jitter
from forebay.client.retry import NO_RETRY, entry_error, is_retryable
from forebay.errors import in_words
from forebay.protocol.actions import (
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.limits import BATCH_ENTRIES_MAX
from forebay.worker.context import Context
from forebay.worker.lease import Event, Lease, named
from forebay.worker.trouble import Trouble

_log = logging.getLogger(__name__)

#: First and longest bound of the pause before entries that failed are tried again, in seconds.
_PAUSE_BASE_S = 0.2
_PAUSE_MAX_S = 5.0

#: Most calls at once that change visibilities. A worker may have thousands of messages in hand, and
#: its receives and deletions need connections too.
_HIDES_AT_ONCE = 32

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


class BatchCalls:
    """Asks SQS about messages of one queue. No error of the client ever leaves it.

    The client makes one attempt of each call: whether another is worth it, the lease says.
    """

    def __init__(self, context: Context, queue_url: str) -> None:
        self._context = context
        self._queue_url = queue_url
        self._deleting = Trouble(f"Deleting messages of {queue_url}")
        self._hiding = Trouble(f"Changing the visibility of messages of {queue_url}")
        #: What was complained of already in the trouble that there is now.
        self._complained: set[tuple[str, str]] = set()
        self._hide_places = asyncio.Semaphore(_HIDES_AT_ONCE)

    async def delete(self, leases: Sequence[Lease]) -> list[Refused]:
        """Delete at most ten messages."""
        request = DeleteMessageBatchRequest(
            queue_url=self._queue_url,
            entries=[
                DeleteMessageBatchRequestEntry(
                    id=str(i), receipt_handle=lease.message.receipt_handle
                )
                for i, lease in enumerate(leases)
            ],
        )
        call = self._context.client.delete_message_batch(request, retry=NO_RETRY)
        return await _refused(call, leases, self._deleting)

    async def hide(self, leases: Sequence[Lease], timeouts_s: Sequence[int]) -> list[Refused]:
        """Let at most ten messages become visible after so many seconds from now; 0 is at once."""
        request = ChangeMessageVisibilityBatchRequest(
            queue_url=self._queue_url,
            entries=[
                ChangeMessageVisibilityBatchRequestEntry(
                    id=str(i),
                    receipt_handle=lease.message.receipt_handle,
                    visibility_timeout=timeout_s,
                )
                for i, (lease, timeout_s) in enumerate(zip(leases, timeouts_s, strict=True))
            ],
        )
        async with self._hide_places:
            call = self._context.client.change_message_visibility_batch(request, retry=NO_RETRY)
            return await _refused(call, leases, self._hiding)

    async def persist(self, call: BatchCall, leases: Sequence[Lease], *, complaint: str) -> None:
        """Ask for at most ten messages, again and again for those whose failure may pass.

        A message is given up when its lease is over, because from then on it is somebody else's.
        Each is carried to its ending, unless this is cancelled. `complaint` says what could not be
        done for those that are given up.
        """
        clock, entropy = self._context.clock, self._context.entropy
        remaining, attempt = leases, 0
        while remaining:
            attempt += 1
            failures = {failure.lease: failure for failure in await call(remaining)}
            again, given_up = [], []
            for lease in remaining:
                failure = failures.get(lease)
                if lease.has_ended:
                    continue
                if failure is None:
                    lease.step(Event.CONFIRMED)
                elif failure.passing and not lease.is_over(clock.monotonic_ms()):
                    again.append(lease)
                else:
                    given_up.append(failure)
                    lease.step(Event.GIVEN_UP)
            self.complain(complaint, given_up)
            remaining = again
            if remaining:
                pause_s = backoff_s(
                    attempt, jitter(entropy), base_s=_PAUSE_BASE_S, max_s=_PAUSE_MAX_S
                )
                await clock.sleep(pause_s)

    def complain(self, complaint: str, refused: Sequence[Refused]) -> None:
        """Log what could not be done for which messages, a line for each reason.

        In an outage all messages in hand are given up, ten at a time; so the first ten of them have
        a line, and the others one at level debug.
        """
        if not (self._deleting.said or self._hiding.said):
            self._complained.clear()
        by_reason: dict[str, list[Lease]] = {}
        for refusal in refused:
            by_reason.setdefault(refusal.reason, []).append(refusal.lease)
        for reason, leases in by_reason.items():
            level = logging.DEBUG if (complaint, reason) in self._complained else logging.WARNING
            _log.log(level, "%s: %s of %s (%s)", complaint, named(leases), self._queue_url, reason)
            self._complained.add((complaint, reason))


async def _refused(
    call: Awaitable[BatchResult], leases: Sequence[Lease], trouble: Trouble
) -> list[Refused]:
    try:
        failed = {leases[int(entry.id)]: entry_error(entry) for entry in (await call).failed or ()}
    except Exception as error:
        trouble.failed(error)
        reason = in_words(error)
        return [Refused(lease, _may_pass(error), reason) for lease in leases]
    passing = next(filter(is_retryable, failed.values()), None)
    if passing is None:
        trouble.over()
    else:
        trouble.failed(passing)
    return [Refused(lease, is_retryable(error), str(error)) for lease, error in failed.items()]


def _may_pass(error: Exception) -> bool:
    """Whether a whole call that failed is worth repeating while the leases last.

    Rights and credentials may be mended meanwhile, and so may what is wrong with a client. Only a
    queue that is gone does not come back with its messages.
    """
    return not (isinstance(error, SqsError) and error.fault == QUEUE_DOES_NOT_EXIST)
