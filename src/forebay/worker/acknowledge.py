"""Deleting finished messages, ten at a time where ten come soon enough."""

from __future__ import annotations

from forebay.protocol.limits import BATCH_ENTRIES_MAX
from forebay.worker.batch_calls import BatchCalls
from forebay.worker.context import Context
from forebay.worker.lease import Lease


def delete_in_ms(count: int, oldest_age_ms: int, age_limit_ms: int) -> int:
    """In how many milliseconds the messages that wait to be deleted have to go; 0 is now."""
    if count >= BATCH_ENTRIES_MAX:
        return 0
    return max(0, age_limit_ms - oldest_age_ms)


class Acknowledger:
    """Gathers finished messages and deletes them.

    A batch goes when it is full, when its oldest message has waited for `acknowledge_age_ms`, or
    when it is flushed. Entries that fail for a passing reason are tried again while the lease
    lasts. A message that cannot be deleted is lost: on a FIFO queue an expired handle no longer
    deletes.
    """

    def __init__(self, context: Context, calls: BatchCalls) -> None:
        self._context = context
        self._calls = calls
        self._pending: list[Lease] = []
        self._oldest_ms = 0
        self._timed = False

    def add(self, lease: Lease) -> None:
        """Delete this message soon."""
        if not self._pending:
            self._oldest_ms = self._context.clock.monotonic_ms()
            if not self._timed:
                self._timed = True
                self._context.spawn(self._flush_when_old())
        self._pending.append(lease)
        if len(self._pending) == BATCH_ENTRIES_MAX:
            self.flush()

    def flush(self) -> None:
        """Delete what is gathered now."""
        if self._pending:
            batch, self._pending = self._pending, []
            self._context.spawn(
                self._calls.persist(
                    self._calls.delete,
                    batch,
                    complaint="Done but not deleted, and will be delivered again",
                )
            )

    async def _flush_when_old(self) -> None:
        clock, limit_ms = self._context.clock, self._context.settings.acknowledge_age_ms
        while self._pending:
            age_ms = clock.monotonic_ms() - self._oldest_ms
            wait_ms = delete_in_ms(len(self._pending), age_ms, limit_ms)
            if wait_ms:
                await clock.sleep(wait_ms / 1000)
            else:
                self.flush()
        self._timed = False
