"""One request and one result struct per SQS action, and the table of actions.

The structs carry SQS's own member names on the wire (the AWS JSON 1.0 form) and snake case in
Python. A member that SQS leaves out of an answer is `None` here and is not encoded.

Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct, field


class Request(Struct, rename="pascal", kw_only=True, omit_defaults=True, gc=False):
    """The members of an action's request."""


class Result(Struct, rename="pascal", kw_only=True, omit_defaults=True, gc=False):
    """The members of an action's answer."""


class MessageAttributeValue(Struct, rename="pascal", omit_defaults=True, gc=False, kw_only=True):
    """A user's message attribute, or a message system attribute when sent.

    A sender may leave out or send what SQS then refuses in its own words: no type, or the lists,
    which are "reserved for future use".
    """

    data_type: str = ""
    string_value: str | None = None
    binary_value: bytes | None = None
    string_list_values: list[str] | None = None
    binary_list_values: list[bytes] | None = None


MessageAttributes: TypeAlias = dict[str, MessageAttributeValue]


class BatchResultErrorEntry(Struct, rename="pascal", kw_only=True, gc=False):
    """One entry of a batch that failed. `sender_fault` tells whether a retry can help."""

    id: str
    sender_fault: bool
    code: str
    message: str | None = None


class CreateQueueRequest(Request):
    queue_name: str
    attributes: dict[str, str] | None = None
    tags: dict[str, str] | None = field(default=None, name="tags")


class CreateQueueResult(Result):
    queue_url: str


class GetQueueUrlRequest(Request):
    queue_name: str
    queue_owner_aws_account_id: str | None = field(default=None, name="QueueOwnerAWSAccountId")


class GetQueueUrlResult(Result):
    queue_url: str


class ListQueuesRequest(Request):
    queue_name_prefix: str | None = None
    max_results: int | None = None
    next_token: str | None = None


class ListQueuesResult(Result):
    queue_urls: list[str] | None = None
    next_token: str | None = None


class QueueRequest(Request):
    """Any request that names its queue by URL."""

    queue_url: str


class DeleteQueueRequest(QueueRequest):
    pass


class PurgeQueueRequest(QueueRequest):
    pass


class EmptyResult(Result):
    """The answer of an action that has nothing to say."""


class GetQueueAttributesRequest(QueueRequest):
    attribute_names: list[str] | None = None


class GetQueueAttributesResult(Result):
    attributes: dict[str, str] | None = None


class SetQueueAttributesRequest(QueueRequest):
    attributes: dict[str, str]


class MessageToSend(Struct, rename="pascal", kw_only=True, omit_defaults=True, gc=False):
    """What SendMessage and an entry of SendMessageBatch have in common."""

    message_body: str
    delay_seconds: int | None = None
    message_attributes: MessageAttributes | None = None
    message_system_attributes: MessageAttributes | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class SendMessageRequest(MessageToSend, kw_only=True):
    queue_url: str


class SendMessageResult(Result):
    message_id: str
    md5_of_message_body: str = field(name="MD5OfMessageBody")
    md5_of_message_attributes: str | None = field(default=None, name="MD5OfMessageAttributes")
    md5_of_message_system_attributes: str | None = field(
        default=None, name="MD5OfMessageSystemAttributes"
    )
    sequence_number: str | None = None


class SendMessageBatchRequestEntry(MessageToSend, kw_only=True):
    """An entry without a body, or with an empty one, fails alone."""

    id: str
    message_body: str = ""


class SendMessageBatchRequest(QueueRequest):
    entries: list[SendMessageBatchRequestEntry]


class SendMessageBatchResultEntry(SendMessageResult, kw_only=True):
    id: str


class SendMessageBatchResult(Result):
    successful: list[SendMessageBatchResultEntry] | None = None
    failed: list[BatchResultErrorEntry] | None = None


class ReceiveMessageRequest(QueueRequest):
    attribute_names: list[str] | None = None
    message_system_attribute_names: list[str] | None = None
    message_attribute_names: list[str] | None = None
    max_number_of_messages: int | None = None
    visibility_timeout: int | None = None
    wait_time_seconds: int | None = None
    receive_request_attempt_id: str | None = None


class Message(Struct, rename="pascal", kw_only=True, omit_defaults=True, gc=False):
    """A message as a receiver sees it."""

    message_id: str
    receipt_handle: str
    md5_of_body: str = field(name="MD5OfBody")
    body: str
    attributes: dict[str, str] | None = None
    md5_of_message_attributes: str | None = field(default=None, name="MD5OfMessageAttributes")
    message_attributes: MessageAttributes | None = None


class ReceiveMessageResult(Result):
    messages: list[Message] | None = None


class DeleteMessageRequest(QueueRequest):
    receipt_handle: str


class DeleteMessageBatchRequestEntry(Struct, rename="pascal", kw_only=True, gc=False):
    """An entry without a handle, or with an empty one, fails alone."""

    id: str
    receipt_handle: str = ""


class DeleteMessageBatchRequest(QueueRequest):
    entries: list[DeleteMessageBatchRequestEntry]


class BatchResultEntry(Struct, rename="pascal", kw_only=True, gc=False):
    """One entry of a delete or visibility batch that succeeded."""

    id: str


class BatchResult(Result):
    """The answer of DeleteMessageBatch and ChangeMessageVisibilityBatch."""

    successful: list[BatchResultEntry] | None = None
    failed: list[BatchResultErrorEntry] | None = None


class ChangeMessageVisibilityRequest(QueueRequest):
    receipt_handle: str
    visibility_timeout: int


class ChangeMessageVisibilityBatchRequestEntry(
    Struct, rename="pascal", kw_only=True, omit_defaults=True, gc=False
):
    """An entry without a handle or a timeout fails alone."""

    id: str
    receipt_handle: str = ""
    visibility_timeout: int | None = None


class ChangeMessageVisibilityBatchRequest(QueueRequest):
    entries: list[ChangeMessageVisibilityBatchRequestEntry]


class TagQueueRequest(QueueRequest):
    tags: dict[str, str]


class UntagQueueRequest(QueueRequest):
    tag_keys: list[str]


class ListQueueTagsRequest(QueueRequest):
    pass


class ListQueueTagsResult(Result):
    tags: dict[str, str] | None = None


class AddPermissionRequest(QueueRequest):
    label: str
    aws_account_ids: list[str] = field(name="AWSAccountIds")
    actions: list[str]


class RemovePermissionRequest(QueueRequest):
    label: str


class ListDeadLetterSourceQueuesRequest(QueueRequest):
    next_token: str | None = None
    max_results: int | None = None


class ListDeadLetterSourceQueuesResult(Result):
    #: SQS spells this one member with a small letter, and answers it even when it is empty.
    queue_urls: list[str] = field(name="queueUrls")
    next_token: str | None = None


class StartMessageMoveTaskRequest(Request):
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None


class StartMessageMoveTaskResult(Result):
    task_handle: str


class CancelMessageMoveTaskRequest(Request):
    task_handle: str


class CancelMessageMoveTaskResult(Result):
    approximate_number_of_messages_moved: int


class ListMessageMoveTasksRequest(Request):
    source_arn: str
    max_results: int | None = None


class ListMessageMoveTasksResultEntry(Result, kw_only=True):
    """A move task. Only a running one shows its handle."""

    task_handle: str | None = None
    status: str
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None
    approximate_number_of_messages_moved: int | None = None
    approximate_number_of_messages_to_move: int | None = None
    failure_reason: str | None = None
    #: In milliseconds since the Unix epoch.
    started_timestamp: int


class ListMessageMoveTasksResult(Result):
    results: list[ListMessageMoveTasksResultEntry] | None = None


AnyRequest: TypeAlias = (
    CreateQueueRequest
    | GetQueueUrlRequest
    | ListQueuesRequest
    | DeleteQueueRequest
    | PurgeQueueRequest
    | GetQueueAttributesRequest
    | SetQueueAttributesRequest
    | SendMessageRequest
    | SendMessageBatchRequest
    | ReceiveMessageRequest
    | DeleteMessageRequest
    | DeleteMessageBatchRequest
    | ChangeMessageVisibilityRequest
    | ChangeMessageVisibilityBatchRequest
    | TagQueueRequest
    | UntagQueueRequest
    | ListQueueTagsRequest
    | AddPermissionRequest
    | RemovePermissionRequest
    | ListDeadLetterSourceQueuesRequest
    | StartMessageMoveTaskRequest
    | CancelMessageMoveTaskRequest
    | ListMessageMoveTasksRequest
)

AnyResult: TypeAlias = (
    CreateQueueResult
    | GetQueueUrlResult
    | ListQueuesResult
    | EmptyResult
    | GetQueueAttributesResult
    | SendMessageResult
    | SendMessageBatchResult
    | ReceiveMessageResult
    | BatchResult
    | ListQueueTagsResult
    | ListDeadLetterSourceQueuesResult
    | StartMessageMoveTaskResult
    | CancelMessageMoveTaskResult
    | ListMessageMoveTasksResult
)


class Action(Struct, frozen=True):
    """An SQS action: its name on the wire, what is asked and what is answered."""

    name: str
    request_type: type[AnyRequest]
    result_type: type[AnyResult]


#: Every action of SQS, by its name on the wire.
ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("CreateQueue", CreateQueueRequest, CreateQueueResult),
        Action("GetQueueUrl", GetQueueUrlRequest, GetQueueUrlResult),
        Action("ListQueues", ListQueuesRequest, ListQueuesResult),
        Action("DeleteQueue", DeleteQueueRequest, EmptyResult),
        Action("PurgeQueue", PurgeQueueRequest, EmptyResult),
        Action("GetQueueAttributes", GetQueueAttributesRequest, GetQueueAttributesResult),
        Action("SetQueueAttributes", SetQueueAttributesRequest, EmptyResult),
        Action("SendMessage", SendMessageRequest, SendMessageResult),
        Action("SendMessageBatch", SendMessageBatchRequest, SendMessageBatchResult),
        Action("ReceiveMessage", ReceiveMessageRequest, ReceiveMessageResult),
        Action("DeleteMessage", DeleteMessageRequest, EmptyResult),
        Action("DeleteMessageBatch", DeleteMessageBatchRequest, BatchResult),
        Action("ChangeMessageVisibility", ChangeMessageVisibilityRequest, EmptyResult),
        Action("ChangeMessageVisibilityBatch", ChangeMessageVisibilityBatchRequest, BatchResult),
        Action("TagQueue", TagQueueRequest, EmptyResult),
        Action("UntagQueue", UntagQueueRequest, EmptyResult),
        Action("ListQueueTags", ListQueueTagsRequest, ListQueueTagsResult),
        Action("AddPermission", AddPermissionRequest, EmptyResult),
        Action("RemovePermission", RemovePermissionRequest, EmptyResult),
        Action(
            "ListDeadLetterSourceQueues",
            ListDeadLetterSourceQueuesRequest,
            ListDeadLetterSourceQueuesResult,
        ),
        Action("StartMessageMoveTask", StartMessageMoveTaskRequest, StartMessageMoveTaskResult),
        Action("CancelMessageMoveTask", CancelMessageMoveTaskRequest, CancelMessageMoveTaskResult),
        Action("ListMessageMoveTasks", ListMessageMoveTasksRequest, ListMessageMoveTasksResult),
    )
}

#: The action of a request struct.
ACTION_OF: dict[type[AnyRequest], Action] = {
    action.request_type: action for action in ACTIONS.values()
}


def add_trace_header(request: AnyRequest, header: str) -> None:
    """Give the messages of a send the AWSTraceHeader that came in an HTTP header.

    One that a message brings itself stays.
    """
    messages: list[MessageToSend] = []
    if isinstance(request, SendMessageRequest):
        messages = [request]
    elif isinstance(request, SendMessageBatchRequest):
        messages = list(request.entries)
    for message in messages:
        if not message.message_system_attributes:
            message.message_system_attributes = {
                "AWSTraceHeader": MessageAttributeValue(data_type="String", string_value=header)
            }
