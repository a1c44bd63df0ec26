"""What the producer, the worker and the applications know of SQS: one call and its typed faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from types import TracebackType
from typing import Self, TypedDict, Unpack, cast, overload

from forebay.client.plain import (
    MAX_RECEIVE_COUNT,
    MessageAttribute,
    QueueAttribute,
    create_queue_request,
    queue_url_request,
    send_request,
)
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
    Message,
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
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import queue_key_from_arn
from forebay.protocol.limits import MESSAGE_RETENTION_SECONDS_MAX


class CallOptions(TypedDict, total=False):
    """How to make one call: what every face of the client passes on to `SqsClient.call`."""

    timeout_s: float | None
    retry: RetryPolicy | None


class SqsClient(ABC):
    """SQS, wherever it is. Use it as an async context manager, or call `close` at the end.

    Every method raises what `call` raises, and takes `timeout_s` and `retry` as `call` does. Each
    action of SQS has a method that takes its request; `create_queue`, `queue_url`, `send`,
    `receive` and `delete` take plain values. A queue may be given to them by name, URL or ARN; what
    a name stands for is asked once and remembered.
    """

    @property
    def place(self) -> str:
        """Where this SQS is, as errors call it."""
        return "this SQS"

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

    @overload
    async def create_queue(
        self, request: CreateQueueRequest, /, **options: Unpack[CallOptions]
    ) -> CreateQueueResult: ...

    @overload
    async def create_queue(
        self,
        name: str,
        /,
        *,
        tags: Mapping[str, str] | None = None,
        dead_letter_queue: str | None = None,
        max_receive_count: int = MAX_RECEIVE_COUNT,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
        **attributes: QueueAttribute,
    ) -> CreateQueueResult: ...

    async def create_queue(
        self,
        queue: CreateQueueRequest | str,
        /,
        *,
        tags: Mapping[str, str] | None = None,
        dead_letter_queue: str | None = None,
        max_receive_count: int = MAX_RECEIVE_COUNT,
        timeout_s: float | None = None,
        retry: RetryPolicy | None = None,
        **attributes: QueueAttribute,
    ) -> CreateQueueResult:
        """Create a queue. One that is there with the same attributes and tags stays as it is.

        Attributes have SQS's names, and values as Python has them: VisibilityTimeout=5,
        ContentBasedDeduplication=True. A name that ends in .fifo makes a FIFO queue.
        `dead_letter_queue` is the name, URL or ARN of the queue that gets what was received
        `max_receive_count` times; one that is missing is created, and keeps messages for 14 days,
        since their age counts from their first sending.
        """
        options = CallOptions(timeout_s=timeout_s, retry=retry)
        if isinstance(queue, str):
            arn = None if dead_letter_queue is None else await self._arn(dead_letter_queue, options)
            queue = create_queue_request(
                queue,
                attributes,
                tags=tags,
                dead_letter_arn=arn,
                max_receive_count=max_receive_count,
            )
        return cast("CreateQueueResult", await self.call(queue, **options))

    async def queue_url(self, queue: str, **options: Unpack[CallOptions]) -> str:
        """The URL of a queue that is given by name or ARN; a URL is returned as it is.

        Raises SqsError, which says what to do, when there is no such queue.
        """
        if "://" in queue:
            return queue
        try:
            found = await self.get_queue_url(queue_url_request(queue), **options)
        except SqsError as error:
            if error.fault != QUEUE_DOES_NOT_EXIST:
                raise
            name = queue.rpartition(":")[2]
            raise SqsError(
                QUEUE_DOES_NOT_EXIST,
                f"There is no queue {name} at {self.place}. Create it with"
                f" `await client.create_queue({name!r})` or `forebay create {name}`, or check the"
                " name, the region and the account.",
            ) from error
        self._urls[queue] = found.queue_url
        return found.queue_url

    async def send(
        self,
        queue: str,
        body: str | Mapping[str, object],
        *,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        delay_s: int | None = None,
        attributes: Mapping[str, MessageAttribute] | None = None,
        **options: Unpack[CallOptions],
    ) -> str:
        """Send a message, and return its id.

        A mapping is sent as JSON. Attributes have values as Python has them.
        """
        request = send_request(
            await self._url(queue, options),
            body,
            group_id=group_id,
            deduplication_id=deduplication_id,
            delay_s=delay_s,
            attributes=attributes,
        )
        return (await self.send_message(request, **options)).message_id

    async def receive(
        self,
        queue: str,
        *,
        limit: int = limits.BATCH_ENTRIES_MAX,
        wait_s: int | None = None,
        visibility_timeout_s: int | None = None,
        **options: Unpack[CallOptions],
    ) -> list[Message]:
        """Receive up to `limit` messages with all their attributes; empty when none came.

        None leaves the wait for the first message and the visibility timeout to the queue.
        """
        request = ReceiveMessageRequest(
            queue_url=await self._url(queue, options),
            message_system_attribute_names=["All"],
            message_attribute_names=["All"],
            max_number_of_messages=limit,
            wait_time_seconds=wait_s,
            visibility_timeout=visibility_timeout_s,
        )
        return (await self.receive_message(request, **options)).messages or []

    async def delete(
        self, queue: str, message: Message | str, **options: Unpack[CallOptions]
    ) -> None:
        """Delete a message that was received from the queue, or that of a receipt handle."""
        handle = message if isinstance(message, str) else message.receipt_handle
        request = DeleteMessageRequest(await self._url(queue, options), handle)
        await self.delete_message(request, **options)

    @cached_property
    def _urls(self) -> dict[str, str]:
        """The URLs of queues, by the name or ARN that was asked for."""
        return {}

    async def _url(self, queue: str, options: CallOptions) -> str:
        return self._urls.get(queue) or await self.queue_url(queue, **options)

    async def _arn(self, queue: str, options: CallOptions) -> str:
        """The ARN of a queue, which is created when it is missing."""
        if queue_key_from_arn(queue) is not None:
            return queue
        url = queue
        if "://" not in queue:
            try:
                url = (await self.get_queue_url(queue_url_request(queue), **options)).queue_url
            except SqsError as error:
                if error.fault != QUEUE_DOES_NOT_EXIST:
                    raise
                created = await self.create_queue(
                    queue, MessageRetentionPeriod=MESSAGE_RETENTION_SECONDS_MAX, **options
                )
                url = created.queue_url
        request = GetQueueAttributesRequest(queue_url=url, attribute_names=["QueueArn"])
        return ((await self.get_queue_attributes(request, **options)).attributes or {})["QueueArn"]

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
