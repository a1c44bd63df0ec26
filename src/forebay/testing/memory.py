"""SQS as a value: what the broker's engine does with requests, at the time of a clock."""

from __future__ import annotations

import random
from typing import cast

from msgspec.structs import replace

from forebay.broker.auto_create import named_queue
from forebay.broker.core.engine import Caller, Engine, Wait
from forebay.client.base import SqsClient
from forebay.client.plain import create_queue_request
from forebay.client.retry import RetryPolicy
from forebay.clock import Clock
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    CreateQueueResult,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    ReceiveMessageResult,
)
from forebay.protocol.identifiers import (
    DEFAULT_ACCOUNT_ID,
    DEFAULT_REGION,
    FIFO_SUFFIX,
    QueueKey,
    queue_arn,
    queue_url,
)

_BASE_URL = "http://sqs.test"

_CALLER = Caller(DEFAULT_ACCOUNT_ID, DEFAULT_REGION, _BASE_URL)


class MemorySqsClient(SqsClient):
    """A client whose queues are in memory, in every account and region the same.

    A queue is there as soon as it is named, with a dead-letter queue beside it that gets what was
    received `max_receive_count` times. A receive never waits, since nothing else happens meanwhile.
    """

    def __init__(self, clock: Clock, *, max_receive_count: int) -> None:
        self._clock = clock
        self._max_receive_count = max_receive_count
        self._engine = Engine(entropy=random.Random(7).randbytes, recreate_interval_ms=0)
        #: Every request of those who use this as their client, in order.
        self.requests: list[AnyRequest] = []

    @property
    def place(self) -> str:
        return "the queues in memory"

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,  # noqa: ARG002 - it takes no time
        retry: RetryPolicy | None = None,  # noqa: ARG002 - and nothing gets lost
    ) -> AnyResult:
        self.requests.append(request)
        return self.apply(request)

    def apply(self, request: AnyRequest) -> AnyResult:
        """Answer a request without remembering it. Raises SqsError when SQS would refuse it."""
        url = getattr(request, "queue_url", None)
        if url:
            request = replace(request, queue_url=self.url(url.rpartition("/")[2]))
        else:
            key = named_queue(request, _CALLER)
            if key is not None:
                self.url(key.name)
        answer = self._apply(request)
        return ReceiveMessageResult() if isinstance(answer, Wait) else answer

    def url(self, name: str) -> str:
        """The URL of a queue, which is made when it is missing."""
        key = QueueKey(DEFAULT_REGION, DEFAULT_ACCOUNT_ID, name)
        if self._engine.find_policy(key) is not None:
            return queue_url(_BASE_URL, key)
        dead_letters = dead_letter_queue(name)
        if dead_letters is None:
            creation = create_queue_request(name, {})
        else:
            self.url(dead_letters)
            arn = queue_arn(replace(key, name=dead_letters))
            creation = create_queue_request(
                name, {}, dead_letter_arn=arn, max_receive_count=self._max_receive_count
            )
        return cast("CreateQueueResult", self._apply(creation)).queue_url

    def counts(self, name: str) -> tuple[int, int]:
        """Messages that are visible, and those that are in flight or delayed."""
        request = GetQueueAttributesRequest(queue_url=self.url(name), attribute_names=["All"])
        result = cast("GetQueueAttributesResult", self._apply(request))
        attributes = result.attributes or {}
        hidden = ("NotVisible", "Delayed")
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            sum(int(attributes[f"ApproximateNumberOfMessages{each}"]) for each in hidden),
        )

    def next_due_ms(self) -> int:
        """When the next hidden message becomes visible, by the clock's monotonic time."""
        return self._engine.next_due()

    def _apply(self, request: AnyRequest) -> AnyResult | Wait:
        now_ms = self._clock.monotonic_ms()
        self._engine.tick(now_ms)
        answer = self._engine.apply(request, _CALLER, now_ms)
        self._engine.take_changes()
        return answer


def dead_letter_queue(name: str) -> str | None:
    """The name of the dead-letter queue of a queue; None for one that is such a queue."""
    suffix = FIFO_SUFFIX if name.endswith(FIFO_SUFFIX) else ""
    stem = name.removesuffix(suffix)
    return None if stem.endswith("-dlq") else f"{stem}-dlq{suffix}"
