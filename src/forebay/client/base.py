"""What the producer, the worker and the applications know of SQS: one call and its typed faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self, TypedDict, Unpack, cast

from forebay.client.retry import RetryPolicy
from forebay.protocol import limits
from forebay.protocol.actions import (
    AddPermissionRequest,
    AnyRequest,
    AnyResult,
    BatchResult,
    CancelMessageMoveTaskRequest,
    CancelMessageMoveTaskResult,
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
    ListDeadLetterSourceQueuesRequest,
    ListDeadLetterSourceQueuesResult,
    ListMessageMoveTasksRequest,
    ListMessageMoveTasksResult,
    ListQueuesRequest,
    ListQueuesResult,
    ListQueueTagsRequest,
    ListQueueTagsResult,
    PurgeQueueRequest,
    ReceiveMessageRequest,
    ReceiveMessageResult,
    RemovePermissionRequest,
    SendMessageBatchRequest,
    SendMessageBatchResult,
    SendMessageRequest,
    SendMessageResult,
    SetQueueAttributesRequest,
    StartMessageMoveTaskRequest,
    StartMessageMoveTaskResult,
    TagQueueRequest,
    UntagQueueRequest,
)


class CallOptions(TypedDict, total=False):
    """How to make one call: what every face of the client passes on to `SqsClient.call`."""

    timeout_s: float | None
    retry: RetryPolicy | None


class SqsClient(ABC):
    """SQS, wherever it is. Use it as an async context manager, or call `close` at the end.

    Every face raises what `call` raises, and takes `timeout_s` and `retry` as `call` does.
    """

    @abstractmethod
    async def call(
        self,
        request: AnyRequest,
        *,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AnyResult:
        """Ask SQS and return its answer, which is of the request's result type.

        `timeout_s` bounds one attempt, to which a long poll adds its wait time, and `retry` says
        when to make another one; None leaves each to the client. NO_RETRY makes one attempt.

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
        self, request: CreateQueueRequest, **options: Unpack[CallOptions]
    ) -> CreateQueueResult:
        return cast("CreateQueueResult", await self.call(request, **options))

    async def get_queue_url(
        self, request: GetQueueUrlRequest, **options: Unpack[CallOptions]
    ) -> GetQueueUrlResult:
        return cast("GetQueueUrlResult", await self.call(request, **options))

    async def list_queues(
        self, request: ListQueuesRequest, **options: Unpack[CallOptions]
    ) -> ListQueuesResult:
        return cast("ListQueuesResult", await self.call(request, **options))

    async def delete_queue(
        self, request: DeleteQueueRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def purge_queue(
        self, request: PurgeQueueRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def get_queue_attributes(
        self, request: GetQueueAttributesRequest, **options: Unpack[CallOptions]
    ) -> GetQueueAttributesResult:
        return cast("GetQueueAttributesResult", await self.call(request, **options))

    async def set_queue_attributes(
        self, request: SetQueueAttributesRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def send_message(
        self, request: SendMessageRequest, **options: Unpack[CallOptions]
    ) -> SendMessageResult:
        return cast("SendMessageResult", await self.call(request, **options))

    async def send_message_batch(
        self, request: SendMessageBatchRequest, **options: Unpack[CallOptions]
    ) -> SendMessageBatchResult:
        return cast("SendMessageBatchResult", await self.call(request, **options))

    async def receive_message(
        self, request: ReceiveMessageRequest, **options: Unpack[CallOptions]
    ) -> ReceiveMessageResult:
        return cast("ReceiveMessageResult", await self.call(request, **options))

    async def delete_message(
        self, request: DeleteMessageRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def delete_message_batch(
        self, request: DeleteMessageBatchRequest, **options: Unpack[CallOptions]
    ) -> BatchResult:
        return cast("BatchResult", await self.call(request, **options))

    async def change_message_visibility(
        self, request: ChangeMessageVisibilityRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def change_message_visibility_batch(
        self, request: ChangeMessageVisibilityBatchRequest, **options: Unpack[CallOptions]
    ) -> BatchResult:
        return cast("BatchResult", await self.call(request, **options))

    async def tag_queue(
        self, request: TagQueueRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def untag_queue(
        self, request: UntagQueueRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def list_queue_tags(
        self, request: ListQueueTagsRequest, **options: Unpack[CallOptions]
    ) -> ListQueueTagsResult:
        return cast("ListQueueTagsResult", await self.call(request, **options))

    async def add_permission(
        self, request: AddPermissionRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def remove_permission(
        self, request: RemovePermissionRequest, **options: Unpack[CallOptions]
    ) -> EmptyResult:
        return cast("EmptyResult", await self.call(request, **options))

    async def list_dead_letter_source_queues(
        self, request: ListDeadLetterSourceQueuesRequest, **options: Unpack[CallOptions]
    ) -> ListDeadLetterSourceQueuesResult:
        return cast("ListDeadLetterSourceQueuesResult", await self.call(request, **options))

    async def start_message_move_task(
        self, request: StartMessageMoveTaskRequest, **options: Unpack[CallOptions]
    ) -> StartMessageMoveTaskResult:
        return cast("StartMessageMoveTaskResult", await self.call(request, **options))

    async def cancel_message_move_task(
        self, request: CancelMessageMoveTaskRequest, **options: Unpack[CallOptions]
    ) -> CancelMessageMoveTaskResult:
        return cast("CancelMessageMoveTaskResult", await self.call(request, **options))

    async def list_message_move_tasks(
        self, request: ListMessageMoveTasksRequest, **options: Unpack[CallOptions]
    ) -> ListMessageMoveTasksResult:
        return cast("ListMessageMoveTasksResult", await self.call(request, **options))


def attempt_timeout_s(request: AnyRequest, timeout_s: float) -> float:
    """How long to wait for an answer: a long poll may take its wait time more.

    A receive without WaitTimeSeconds waits as long as its queue says, which is 20 s at most.
    """
    if not isinstance(request, ReceiveMessageRequest):
        return timeout_s
    if request.wait_time_seconds is None:
        return timeout_s + limits.WAIT_TIME_SECONDS_MAX
    return timeout_s + request.wait_time_seconds
