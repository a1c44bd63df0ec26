"""How many messages each queue has, as SQS says from time to time."""

from __future__ import annotations

import logging

from forebay.client.base import SqsClient
from forebay.client.retry import NO_RETRY, is_retryable
from forebay.clock import Clock
from forebay.errors import ForebayError
from forebay.protocol.actions import GetQueueAttributesRequest

_log = logging.getLogger(__name__)

_VISIBLE = "ApproximateNumberOfMessages"
_IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
_DELAYED = "ApproximateNumberOfMessagesDelayed"


class Depth:
    """The counts of one queue. None as long as SQS has not told them.

    A worker without the right to ask works without: what its receives bring is enough to poll by.
    """

    def __init__(self, client: SqsClient, name: str, url: str) -> None:
        self._client = client
        self._name = name
        self._url = url
        self.visible: int | None = None
        self.in_flight: int | None = None
        self.delayed: int | None = None
        #: When SQS was asked last, in monotonic milliseconds.
        self.asked_ms: int | None = None
        #: How often SQS has told them.
        self.answers = 0

    async def run(self, clock: Clock, interval_s: float) -> None:
        """Ask at every interval until cancelled, or until SQS says that asking is forbidden."""
        while await self.ask():
            self.asked_ms = clock.monotonic_ms()
            await clock.sleep(interval_s)

    async def ask(self) -> bool:
        """Ask once. Returns whether asking again makes sense."""
        request = GetQueueAttributesRequest(
            queue_url=self._url, attribute_names=[_VISIBLE, _IN_FLIGHT, _DELAYED]
        )
        try:
            result = await self._client.get_queue_attributes(request, retry=NO_RETRY)
        except ForebayError as error:
            # The receives tell of an outage, and of a queue that is gone.
            _log.debug("The depth of %s is not known: %s", self._name, error)
            self.visible = self.in_flight = self.delayed = None
            return is_retryable(error)
        counts = result.attributes or {}
        self.visible = int(counts.get(_VISIBLE, 0))
        self.in_flight = int(counts.get(_IN_FLIGHT, 0))
        self.delayed = int(counts.get(_DELAYED, 0))
        self.answers += 1
        return True
