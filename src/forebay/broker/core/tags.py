"""TagQueue, UntagQueue and ListQueueTags.

Source: API TagQueue and SQSDeveloperGuide/sqs-queue-tags.html.
"""

from __future__ import annotations

from collections.abc import Mapping

from forebay.broker.core import validation
from forebay.broker.core.state import Caller, EngineState
from forebay.protocol import errors, limits
from forebay.protocol.actions import (
    EmptyResult,
    ListQueueTagsRequest,
    ListQueueTagsResult,
    TagQueueRequest,
    UntagQueueRequest,
)
from forebay.protocol.errors import SqsError


def check_tags(queue_name: str, tags: Mapping[str, str]) -> None:
    """Raise SqsError unless a queue may have exactly these tags."""
    if len(tags) > limits.TAGS_MAX:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            f"Too many tags added for queue {queue_name}. A queue has at most {limits.TAGS_MAX}.",
        )
    for key, value in tags.items():
        if not 1 <= len(key) <= limits.TAG_KEY_CHARACTERS_MAX:
            raise validation.invalid(
                "Tags", key, f"Tag keys must be 1 to {limits.TAG_KEY_CHARACTERS_MAX} in length."
            )
        if len(value) > limits.TAG_VALUE_CHARACTERS_MAX:
            raise validation.invalid(
                "Tags",
                value,
                f"Tag values must be at most {limits.TAG_VALUE_CHARACTERS_MAX} in length.",
            )


def tag_queue(
    state: EngineState, request: TagQueueRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    if not request.tags:
        raise validation.missing("Tags")
    tags = {**queue.tags, **request.tags}
    check_tags(queue.key.name, tags)
    queue.tags = tags
    state.save_queue(queue)
    return EmptyResult()


def untag_queue(
    state: EngineState, request: UntagQueueRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    if not request.tag_keys:
        raise validation.missing("TagKeys")
    queue.tags = {key: value for key, value in queue.tags.items() if key not in request.tag_keys}
    state.save_queue(queue)
    return EmptyResult()


def list_queue_tags(
    state: EngineState, request: ListQueueTagsRequest, caller: Caller, now_ms: int
) -> ListQueueTagsResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    return ListQueueTagsResult(tags=queue.tags or None)
