"""The broker's real engine behind the client interface, with faults on request."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, cast

from forebay.broker.core.engine import Caller, Engine, Wait
from forebay.client.base import SqsClient
from forebay.client.retry import RetryPolicy
from forebay.clock import Clock
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    CreateQueueRequest,
    GetQueueAttributesRequest,
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)
from tests.runtime.virtual_time import LoopClock

CALLER = Caller("000000000000", "us-east-1", "http://sqs.test")


class EngineClient(SqsClient):
    """Every request takes `latency_s`, half of it before SQS acts and half after.

    `before` and `after` see each request on its way there and back. They may raise, for a request
    that never arrives or an answer that is lost.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        latency_s: float = 0.002,
        before: Callable[[AnyRequest], None] = lambda request: None,
        after: Callable[[AnyRequest], None] = lambda request: None,
    ) -> None:
        self.engine = Engine(entropy=random.Random(7).randbytes, recreate_interval_ms=0)
        self.clock = clock or LoopClock()
        self.latency_s = latency_s
        self.before = before
        self.after = after
        self.requests: list[AnyRequest] = []
        self._changed = asyncio.Event()

    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        self.requests.append(request)
        await self.clock.sleep(self.latency_s / 2)
        self.before(request)
        answer = self._apply(request)
        while isinstance(answer, Wait):
            answer = await self._wait(request, answer)
        await self.clock.sleep(self.latency_s / 2)
        self.after(request)
        return answer

    def count(self, kind: type[AnyRequest]) -> int:
        return sum(isinstance(request, kind) for request in self.requests)

    def _apply(self, request: AnyRequest) -> AnyResult | Wait:
        now_ms = self.clock.monotonic_ms()
        self.engine.tick(now_ms)
        answer = self.engine.apply(request, CALLER, now_ms)
        self.engine.take_changes()
        self._changed.set()
        self._changed = asyncio.Event()
        return answer

    async def _wait(self, request: AnyRequest, wait: Wait) -> AnyResult | Wait:
        now_ms = self.clock.monotonic_ms()
        if now_ms >= wait.until_ms:
            return ReceiveMessageResult()
        due_ms = min(wait.until_ms, self.engine.next_due())
        changed = asyncio.ensure_future(self._changed.wait())
        await asyncio.wait((changed,), timeout=max(0, due_ms - now_ms) / 1000)
        changed.cancel()
        again = self._apply_quietly(request)
        return wait if isinstance(again, Wait) else again

    def _apply_quietly(self, request: AnyRequest) -> AnyResult | Wait:
        """Try a waiting receive again without waking the others that wait."""
        now_ms = self.clock.monotonic_ms()
        self.engine.tick(now_ms)
        answer = self.engine.apply(request, CALLER, now_ms)
        self.engine.take_changes()
        return answer

    async def create(self, name: str, **attributes: object) -> str:
        """A queue, and beside it a dead-letter queue when `max_receive_count` is given."""
        most = attributes.pop("max_receive_count", None)
        texts = {name: str(value) for name, value in attributes.items()}
        if name.endswith(".fifo"):
            texts["FifoQueue"] = "true"
        if most is not None:
            dead_letters = f"{name.removesuffix('.fifo')}-dlq"
            dead_letters += ".fifo" if name.endswith(".fifo") else ""
            await self.create(dead_letters)
            arn = f"arn:aws:sqs:{CALLER.region}:{CALLER.account_id}:{dead_letters}"
            texts["RedrivePolicy"] = json.dumps(
                {"deadLetterTargetArn": arn, "maxReceiveCount": most}
            )
        result = await self.create_queue(CreateQueueRequest(queue_name=name, attributes=texts))
        return result.queue_url

    async def send(
        self,
        queue: str,
        body: str | Mapping[str, object],
        group_id: str | None = None,
        *,
        deduplication_id: str | None = None,
        **more: Any,
    ) -> str:
        """As the client's own, but that a FIFO queue tells messages apart by their bodies."""
        if queue.endswith(".fifo") and deduplication_id is None:
            deduplication_id = hashlib.sha256(str(body).encode()).hexdigest()
        more |= {"group_id": group_id, "deduplication_id": deduplication_id}
        return await super().send(queue, body, **more)

    async def everything_in(self, queue_url: str) -> list[Message]:
        """Receive all visible messages, hiding them for a second."""
        messages: list[Message] = []
        while True:
            answer = self._apply(
                ReceiveMessageRequest(
                    queue_url=queue_url,
                    max_number_of_messages=10,
                    visibility_timeout=1,
                    message_system_attribute_names=["All"],
                    message_attribute_names=["All"],
                )
            )
            received = cast("ReceiveMessageResult", answer).messages
            if not received:
                return messages
            messages.extend(received)

    async def counts(self, queue_url: str) -> tuple[int, int]:
        """Visible messages, and messages in flight."""
        result = await self.get_queue_attributes(
            GetQueueAttributesRequest(queue_url=queue_url, attribute_names=["All"])
        )
        attributes = result.attributes or {}
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )
