"""Deleting finished messages, ten at a time where ten come soon enough."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

from forebay.client.base import SqsClient
from forebay.clock import Clock
from forebay.protocol.limits import BATCH_ENTRIES_MAX
from forebay.worker.batch_calls import Refused, delete, persist
from forebay.worker.lease import Lease
from forebay.worker.ledger import Ending

_log = logging.getLogger(__name__)

#: Starts a coroutine that the worker awaits before it ends.
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]


def delete_in_ms(count: int, oldest_age_ms: int, age_limit_ms: int) -> int:
    """In how many milliseconds the messages that wait to be deleted have to go; 0 is now."""
    if count >= BATCH_ENTRIES_MAX:
        return 0
    return max(0, age_limit_ms - oldest_age_ms)


class Acknowledger:
    """Gathers finished messages and deletes them.

    A batch goes when it is full, when its oldest message has waited for `age_ms`, or when it is
    flushed. Entries that fail for a passing reason are tried again while the lease lasts. A message
    that cannot be deleted ends as lost: on a FIFO queue an expired handle no longer deletes.
    """

    def __init__(
        self,
        client: SqsClient,
        queue_url: str,
        *,
        age_ms: int,
        clock: Clock,
        entropy: Callable[[int], bytes],
        spawn: Spawn,
        ended: Callable[[Lease, Ending], None],
    ) -> None:
        self._delete = partial(delete, client, queue_url)
        self._queue_url = queue_url
        self._age_ms = age_ms
        self._clock = clock
        self._entropy = entropy
        self._spawn = spawn
        self._ended = ended
        self._pending: list[tuple[Lease, Ending]] = []
        self._oldest_ms = 0
        self._timed = False

    def add(self, lease: Lease, ending: Ending) -> None:
        """Delete this message soon. It ends as `ending` once SQS confirms."""
        if not self._pending:
            self._oldest_ms = self._clock.monotonic_ms()
            if not self._timed:
                self._timed = True
                self._spawn(self._flush_when_old())
        self._pending.append((lease, ending))
        if len(self._pending) == BATCH_ENTRIES_MAX:
            self.flush()

    def flush(self) -> None:
        """Delete what is gathered now."""
        if self._pending:
            batch, self._pending = self._pending, []
            self._spawn(self._delete_batch(batch))

    async def _flush_when_old(self) -> None:
        while self._pending:
            age_ms = self._clock.monotonic_ms() - self._oldest_ms
            wait_ms = delete_in_ms(len(self._pending), age_ms, self._age_ms)
            if wait_ms:
                await self._clock.sleep(wait_ms / 1000)
            else:
                self.flush()
        self._timed = False

    async def _delete_batch(self, batch: Sequence[tuple[Lease, Ending]]) -> None:
        endings = dict(batch)
        await persist(
            self._delete,
            list(endings),
            clock=self._clock,
            entropy=self._entropy,
            done=lambda lease: self._ended(lease, endings[lease]),
            refused=self._refused,
        )

    def _refused(self, refused: Refused) -> None:
        _log.warning(
            "Message %s of %s is done but could not be deleted and will be delivered again: %s",
            refused.lease.message_id,
            self._queue_url,
            refused.reason,
        )
        self._ended(refused.lease, Ending.LOST)
