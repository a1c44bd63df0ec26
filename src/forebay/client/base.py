"""What the producer, the worker and the applications know of SQS: one call and its typed faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self, cast

from forebay.protocol.actions import (
    AnyRequest,
    AnyResult,
    BatchResult,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityRequest,
    CreateQueueRequest,
    CreateQueueResult,
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
    DeleteQueueRequest,
    EmptyResult,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    ListQueuesRequest,
    ListQueuesResult,
    PurgeQueueRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    SendMessageBatchRequest,
    SendMessageBatchResult,
    SendMessageRequest,
    SendMessageResult,
    SetQueueAttributesRequest,
)


class SqsClient(ABC):
    """SQS, wherever it is. Use it as an async context manager, or call `close` at the end.

    Every face raises what `call` raises, and takes `timeout_s` as `call` does.
    """

    @abstractmethod
    async def call(self, request: AnyRequest, *, timeout_s: float | None = None) -> AnyResult:
        """Ask SQS and return its answer, which is of the request's result type.

        `timeout_s` bounds one attempt, and a long poll's WaitTimeSeconds comes on top of it; None
        leaves it to the client. A transport may make several attempts.

        Raises SqsError when SQS refuses, and ServiceUnreachable when no answer came: the action may
        or may not have been carried out. A batch whose entries failed is an answer, not an error.
        Cancelling leaves the client usable; the action may or may not have been carried out.
        """

    async def close(self) -> None:  # noqa: B027 - a client without connections has none to close
        """Let go of connections. Closing twice does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def create_queue(
        self, request: CreateQueueRequest, *, timeout_s: float | None = None
    ) -> CreateQueueResult:
        return cast("CreateQueueResult", await self.call(request, timeout_s=timeout_s))

    async def get_queue_url(
        self, request: GetQueueUrlRequest, *, timeout_s: float | None = None
    ) -> GetQueueUrlResult:
        return cast("GetQueueUrlResult", await self.call(request, timeout_s=timeout_s))

    async def list_queues(
        self, request: ListQueuesRequest, *, timeout_s: float | None = None
    ) -> ListQueuesResult:
        return cast("ListQueuesResult", await self.call(request, timeout_s=timeout_s))

    async def delete_queue(
        self, request: DeleteQueueRequest, *, timeout_s: float | None = None
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, timeout_s=timeout_s))

    async def purge_queue(
        self, request: PurgeQueueRequest, *, timeout_s: float | None = None
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, timeout_s=timeout_s))

    async def get_queue_attributes(
        self, request: GetQueueAttributesRequest, *, timeout_s: float | None = None
    ) -> GetQueueAttributesResult:
        return cast("GetQueueAttributesResult", await self.call(request, timeout_s=timeout_s))

    async def set_queue_attributes(
        self, request: SetQueueAttributesRequest, *, timeout_s: float | None = None
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, timeout_s=timeout_s))

    async def send_message(
        self, request: SendMessageRequest, *, timeout_s: float | None = None
    ) -> SendMessageResult:
        return cast("SendMessageResult", await self.call(request, timeout_s=timeout_s))

    async def send_message_batch(
        self, request: SendMessageBatchRequest, *, timeout_s: float | None = None
    ) -> SendMessageBatchResult:
        return cast("SendMessageBatchResult", await self.call(request, timeout_s=timeout_s))

    async def receive_message(
        self, request: ReceiveMessageRequest, *, timeout_s: float | None = None
    ) -> ReceiveMessageResult:
        return cast("ReceiveMessageResult", await self.call(request, timeout_s=timeout_s))

    async def delete_message(
        self, request: DeleteMessageRequest, *, timeout_s: float | None = None
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, timeout_s=timeout_s))

    async def delete_message_batch(
        self, request: DeleteMessageBatchRequest, *, timeout_s: float | None = None
    ) -> BatchResult:
        return cast("BatchResult", await self.call(request, timeout_s=timeout_s))

    async def change_message_visibility(
        self, request: ChangeMessageVisibilityRequest, *, timeout_s: float | None = None
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, timeout_s=timeout_s))

    async def change_message_visibility_batch(
        self, request: ChangeMessageVisibilityBatchRequest, *, timeout_s: float | None = None
    ) -> BatchResult:
        return cast("BatchResult", await self.call(request, timeout_s=timeout_s))
