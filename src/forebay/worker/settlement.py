"""How a message that was running ends: what SQS is asked to do, and what may run next."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from forebay.backoff import backoff_s, jitter
from forebay.client.base import SqsClient
from forebay.clock import Clock
from forebay.errors import ServiceUnreachable
from forebay.protocol.errors import SqsError
from forebay.worker.acknowledge import Acknowledger, Spawn
from forebay.worker.heartbeat import Heartbeat
from forebay.worker.lease import Lease
from forebay.worker.ledger import Ending
from forebay.worker.processing import Processing
from forebay.worker.reject import NoDeadLetterQueue, Rejecter
from forebay.worker.release import Release, Releaser
from forebay.worker.settings import WorkerSettings

_log = logging.getLogger(__name__)


class Settlement:
    """Ends running messages, one call for each.

    When a message goes back to its queue, those that wait behind it in its group go back with it
    under the same delay.
    """

    def __init__(
        self,
        client: SqsClient,
        queue_url: str,
        settings: WorkerSettings,
        *,
        processing: Processing,
        heartbeat: Heartbeat,
        rejecter: Rejecter,
        clock: Clock,
        entropy: Callable[[int], bytes],
        spawn: Spawn,
        ended: Callable[[Lease, Ending], None],
    ) -> None:
        self._queue_url = queue_url
        self._settings = settings
        self._processing = processing
        self._heartbeat = heartbeat
        self._rejecter = rejecter
        self._entropy = entropy
        self._ended = ended
        self._acknowledger = Acknowledger(
            client,
            queue_url,
            age_ms=settings.acknowledge_age_ms,
            clock=clock,
            entropy=entropy,
            spawn=spawn,
            ended=ended,
        )
        self._releaser = Releaser(
            client,
            queue_url,
            heartbeat=heartbeat,
            clock=clock,
            entropy=entropy,
            spawn=spawn,
            ended=ended,
        )

    def acknowledge(self, lease: Lease, ending: Ending = Ending.ACKED) -> None:
        """It is done: delete it."""
        self._heartbeat.let_go(lease)
        self._acknowledger.add(lease, ending)
        self._processing.finish(lease)

    async def reject(self, lease: Lease, reason: str) -> None:
        """It can never be handled: copy it to the dead-letter queue, then delete it.

        Without a dead-letter queue, or when the copy cannot be made, it is treated as failed.
        """
        try:
            await self._rejecter.send_copy(lease.message, reason)
        except NoDeadLetterQueue as error:
            self._rejecter.complain(error)
            self._give_back_later(lease)
        except (ServiceUnreachable, SqsError) as error:
            _log.error(
                "Message %s of %s could not be rejected and will be tried again: %s",
                lease.message_id,
                self._queue_url,
                error,
            )
            self._give_back_later(lease)
        else:
            _log.warning(
                "Message %s of %s is rejected: %s", lease.message_id, self._queue_url, reason
            )
            self.acknowledge(lease, Ending.REJECTED)

    async def fail(self, lease: Lease, error: Exception) -> None:
        """Its handler failed: let it come back later, until the queue moves it away.

        The messages that wait behind it have spent their receives as well. At the last receive the
        queue would move them to the dead-letter queue although none of them has run. So then this
        one is rejected at once, and they go on.
        """
        if self._processing.is_followed(lease) and await self._is_last_receive(lease):
            await self.reject(lease, f"Failed at its last receive: {type(error).__name__}: {error}")
        else:
            self._give_back_later(lease)

    def retry(self, lease: Lease, delay_s: float) -> None:
        """Its handler asked for it to come back after this time."""
        self._give_back(Release(lease, Ending.RETRIED), max(0, math.ceil(delay_s)))

    def release(self, lease: Lease) -> None:
        """It did not run to its end: let it come back at once. It is lost if its lease is over."""
        self._give_back(Release(lease, Ending.RELEASED))

    def leave_hidden(self, lease: Lease) -> None:
        """It may still be running: let it stay hidden for its visibility timeout."""
        self._heartbeat.let_go(lease)
        self._ended(lease, Ending.LOST)
        self.release_all(self._processing.fail(lease))

    def release_all(self, leases: list[Lease]) -> None:
        """Let messages come back at once that never ran."""
        self._releaser.release([Release(lease, Ending.RELEASED) for lease in leases])

    def flush(self) -> None:
        """Delete now what is gathered for deletion."""
        self._acknowledger.flush()

    async def _is_last_receive(self, lease: Lease) -> bool:
        try:
            most = (await self._rejecter.dead_letters()).max_receive_count
        except (ServiceUnreachable, SqsError) as error:
            _log.warning("The redrive policy of %s is unknown: %s", self._queue_url, error)
            return False
        return most is not None and lease.receive_count >= most

    def _give_back_later(self, lease: Lease) -> None:
        delay_s = backoff_s(
            lease.receive_count,
            jitter(self._entropy),
            base_s=self._settings.backoff_base_s,
            max_s=self._settings.backoff_max_s,
        )
        self._give_back(Release(lease, Ending.RETRIED), math.ceil(delay_s))

    def _give_back(self, release: Release, delay_s: int = 0) -> None:
        behind = self._processing.fail(release.lease)
        followers = [Release(lease, Ending.RELEASED) for lease in behind]
        self._releaser.release([release, *followers], delay_s)
