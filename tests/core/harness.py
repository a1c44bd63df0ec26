"""An engine with a clock of its own, and requests as short calls."""

from __future__ import annotations

import random
from collections.abc import Mapping

from forebay.broker.core.engine import Caller, Engine, Wait
from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResult,
    ChangeMessageVisibilityRequest,
    CreateQueueRequest,
    CreateQueueResult,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    DeleteMessageRequest,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    Message,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageRequest,
    SendMessageResult,
)

ENDPOINT_URL = "http://localhost:9324"
ACCOUNT_ID = "000000000000"
CALLER = Caller(ACCOUNT_ID, "us-east-1", ENDPOINT_URL)


def url_of(name: str) -> str:
    return f"{ENDPOINT_URL}/{ACCOUNT_ID}/{name}"


def arn_of(name: str) -> str:
    return f"arn:aws:sqs:us-east-1:{ACCOUNT_ID}:{name}"


class Sqs:
    """An engine under test. Time stands still unless `wait` is called."""

    def __init__(self, engine: Engine | None = None, *, recreate_interval_ms: int = 0) -> None:
        self.engine = engine or Engine(
            entropy=random.Random(7).randbytes, recreate_interval_ms=recreate_interval_ms
        )
        self.now_ms = 1_000_000

    def call(self, request: AnyRequest) -> AnyResult | Wait:
        return self.engine.apply(request, CALLER, self.now_ms)

    def wait(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)

    def create(self, name: str, attributes: Mapping[str, object] | None = None) -> str:
        texts = {key: str(value) for key, value in (attributes or {}).items()}
        if name.endswith(".fifo"):
            texts = {"FifoQueue": "true", "ContentBasedDeduplication": "true", **texts}
        result = self.call(CreateQueueRequest(queue_name=name, attributes=texts))
        assert isinstance(result, CreateQueueResult)
        return result.queue_url

    def send(
        self,
        queue: str,
        body: str,
        *,
        group: str | None = None,
        deduplication_id: str | None = None,
        delay_s: int | None = None,
    ) -> SendMessageResult:
        result = self.call(
            SendMessageRequest(
                queue_url=url_of(queue),
                message_body=body,
                message_group_id=group,
                message_deduplication_id=deduplication_id,
                delay_seconds=delay_s,
            )
        )
        assert isinstance(result, SendMessageResult)
        return result

    def receive(
        self,
        queue: str,
        limit: int = 10,
        *,
        timeout_s: int | None = None,
        attempt_id: str | None = None,
    ) -> list[Message]:
        result = self.call(
            ReceiveMessageRequest(
                queue_url=url_of(queue),
                max_number_of_messages=limit,
                visibility_timeout=timeout_s,
                attribute_names=["All"],
                message_attribute_names=["All"],
                receive_request_attempt_id=attempt_id,
            )
        )
        assert isinstance(result, ReceiveMessageResult)
        return result.messages or []

    def bodies(self, queue: str, limit: int = 10, *, timeout_s: int | None = None) -> list[str]:
        return [message.body for message in self.receive(queue, limit, timeout_s=timeout_s)]

    def delete(self, queue: str, message: Message) -> None:
        self.call(
            DeleteMessageRequest(queue_url=url_of(queue), receipt_handle=message.receipt_handle)
        )

    def delete_batch(self, queue: str, handles: Mapping[str, str]) -> BatchResult:
        entries = [
            DeleteMessageBatchRequestEntry(id=name, receipt_handle=handle)
            for name, handle in handles.items()
        ]
        result = self.call(DeleteMessageBatchRequest(queue_url=url_of(queue), entries=entries))
        assert isinstance(result, BatchResult)
        return result

    def change_visibility(self, queue: str, message: Message, timeout_s: int) -> None:
        self.call(
            ChangeMessageVisibilityRequest(
                queue_url=url_of(queue),
                receipt_handle=message.receipt_handle,
                visibility_timeout=timeout_s,
            )
        )

    def attributes(self, queue: str, *names: str) -> dict[str, str]:
        result = self.call(
            GetQueueAttributesRequest(
                queue_url=url_of(queue), attribute_names=list(names or ("All",))
            )
        )
        assert isinstance(result, GetQueueAttributesResult)
        return result.attributes or {}

    def counts(self, queue: str) -> tuple[int, int, int]:
        """Visible, in flight, delayed."""
        attributes = self.attributes(queue)
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            int(attributes["ApproximateNumberOfMessagesDelayed"]),
        )
