"""How a message ends: what SQS is asked to do for each outcome, and what its group does then."""

from __future__ import annotations

import logging
import math
from enum import Enum, auto
from typing import NamedTuple

from forebay.backoff import backoff_s, jitter
from forebay.errors import ForebayError, in_words, with_type
from forebay.worker.acknowledge import Acknowledger
from forebay.worker.context import Context
from forebay.worker.heartbeat import Heartbeat
from forebay.worker.history import History
from forebay.worker.lease import Event, Lease, State
from forebay.worker.outcomes import Done, Failed, Interrupted, Outcome, Reject, Retry, StillRunning
from forebay.worker.queue import Queue
from forebay.worker.queue_facts import QueueFacts
from forebay.worker.reject import NoDeadLetterQueue, Rejecter
from forebay.worker.release import Releaser

_log = logging.getLogger(__name__)


class Group(Enum):
    """What the messages do that wait behind one in its group."""

    #: The next may run.
    GOES_ON = auto()
    #: They go back to the queue too: hand them to `Source.release_all` with the same delay.
    GOES_BACK = auto()
    #: They wait on, because the handler still runs.
    WAITS = auto()


class Settled(NamedTuple):
    """What follows from the end of a message."""

    group: Group
    #: After how many seconds the message becomes visible, where it goes back.
    delay_s: int = 0


_GOES_ON = Settled(Group.GOES_ON)
_WAITS = Settled(Group.WAITS)


class Settlement:
    """Ends messages as their outcomes say."""

    def __init__(
        self,
        context: Context,
        queue: Queue,
        facts: QueueFacts,
        heartbeat: Heartbeat,
        acknowledger: Acknowledger,
        releaser: Releaser,
    ) -> None:
        self._context = context
        self._queue = queue
        self._facts = facts
        self._heartbeat = heartbeat
        self._acknowledger = acknowledger
        self._releaser = releaser
        self._rejecter = Rejecter(
            context.client, facts.arn, queue.dead_letter_queue or facts.dead_letter_arn
        )
        self._history = History()
        #: Handlers that failed, those that were over their time included, each once.
        self.failures = 0

    async def settle(self, lease: Lease, outcome: Outcome, *, followed: bool = False) -> Settled:
        """Begin the end of a message. It waits only for the copy of one that is rejected.

        `followed` tells whether others wait behind it in its group. Does nothing when the message
        has been given up meanwhile.
        """
        if lease.has_ended:
            return _GOES_ON
        match outcome:
            case Done():
                return self._acknowledge(lease)
            case Retry():
                self._history.of(lease.message_id).spared += 1
                return self._come_back(lease, math.ceil(outcome.delay_s))
            case Reject():
                return await self._reject(lease, outcome.reason)
            case Failed():
                return await self._fail(lease, outcome.error, followed=followed)
            case Interrupted():
                self.release([lease])
                return Settled(Group.GOES_BACK)
            case StillRunning():
                return self._leave(lease, timed_out=outcome.timed_out)

    def release(self, leases: list[Lease], delay_s: int = 0) -> None:
        """Let messages come back that did not run, or not to their end."""
        for lease in leases:
            self._history.of(lease.message_id).spared += 1
            lease.step(Event.INTERRUPTED)
        self._releaser.release(leases, delay_s)

    def _acknowledge(self, lease: Lease) -> Settled:
        lease.step(Event.DONE)
        self._history.forget(lease.message_id)
        self._heartbeat.let_go(lease)
        self._acknowledger.add(lease)
        return _GOES_ON

    async def _reject(self, lease: Lease, reason: str) -> Settled:
        """It can never be handled: copy it to the dead-letter queue, then delete it.

        A crash in between makes a second copy and loses nothing. Without a dead-letter queue, or
        when the copy cannot be made, it is treated as failed. Once the lease is over it is left to
        whoever gets it next.
        """
        lease.step(Event.REFUSED)
        if lease.is_over(self._context.clock.monotonic_ms()):
            return self._come_back(lease, 0)
        named = f"Message {lease.message_id} of {self._facts.url}"
        fields = lease.log_fields
        try:
            await self._rejecter.send_copy(lease.message, reason)
        except NoDeadLetterQueue as error:
            _log.error(
                "%s is rejected and has nowhere to go: %s. %s", named, reason, error, extra=fields
            )
        except Exception as error:
            _log.error(
                "%s is rejected (%s), cannot be copied and will be tried again: %s",
                named,
                reason,
                in_words(error),
                exc_info=None if isinstance(error, ForebayError) else error,
                extra=fields,
            )
        else:
            _log.warning("%s is rejected: %s", named, reason, extra=fields)
            if not lease.has_ended:
                lease.step(Event.COPIED)
                self._history.forget(lease.message_id)
                self._heartbeat.let_go(lease)
                self._acknowledger.add(lease)
            return _GOES_ON
        return self._come_back(lease, self._backoff_s(lease))

    async def _fail(self, lease: Lease, error: BaseException, *, followed: bool) -> Settled:
        """Its handler failed: let it come back later, until its failures or receives are used up.

        The messages that wait behind it have spent their receives as well. At the last receive the
        queue would move them to the dead-letter queue although none of them has run. So then this
        one is rejected at once, and they go on.
        """
        if lease.state is not State.LEFT:
            self.failures += 1
        past = self._history.of(lease.message_id)
        past.failures += 1
        what = with_type(error)
        most = self._queue.failures_max
        if most is not None and past.failures >= most:
            return await self._reject(lease, f"Failure {past.failures} of {most}: {what}")
        last = self._facts.max_receive_count
        if followed and last is not None and lease.receive_count >= last:
            return await self._reject(lease, f"Failed at its last receive: {what}")
        return self._come_back(lease, self._backoff_s(lease))

    def _leave(self, lease: Lease, *, timed_out: bool) -> Settled:
        """Its handler goes on without a place. Settle it again when that ends.

        One over its time is no longer extended, so that the message comes back when its lease is
        over; one that a drain waits for is.
        """
        if timed_out and lease.state is State.RUNNING:
            self.failures += 1
            lease.step(Event.OVERRAN)
            self._heartbeat.let_go(lease)
        return _WAITS

    def _come_back(self, lease: Lease, delay_s: int) -> Settled:
        if not lease.has_ended:
            lease.step(Event.POSTPONED)
            self._releaser.release([lease], delay_s)
        return Settled(Group.GOES_BACK, delay_s)

    def _backoff_s(self, lease: Lease) -> int:
        delay_s = backoff_s(
            self._history.failures_at_most(lease.message_id, lease.receive_count),
            jitter(self._context.entropy),
            base_s=self._context.settings.backoff_base_s,
            max_s=self._context.settings.backoff_max_s,
        )
        return math.ceil(delay_s)
