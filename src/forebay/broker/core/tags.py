"""TagQueue, UntagQueue and ListQueueTags.

Source: API TagQueue and SQSDeveloperGuide/quotas-queues.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

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

#: Letters and digits of every script, white space that XML can hold, and a few symbols.
_CHARACTERS = re.compile(r"(?:[\w.:/=+@-]|[^\S\x0b\x0c\x1c-\x1f])*")

#: What AWS's own tags begin with, in any case.
_RESERVED = "aws:"


def check_tags(queue_name: str, tags: Mapping[str, str]) -> None:
    """Raise SqsError (InvalidParameterValue) unless a queue may have exactly these tags."""
    if len(tags) > limits.TAGS_MAX:
        raise _refused(f"Too many tags added for queue {queue_name}.")
    _check_keys(tags)
    for value in tags.values():
        if len(value) > limits.TAG_VALUE_CHARACTERS_MAX:
            raise _refused(
                "Tag values must be between 0 and"
                f" {limits.TAG_VALUE_CHARACTERS_MAX} characters in length."
            )
        _check_characters("values", value)


def _check_keys(keys: Iterable[str]) -> None:
    for key in keys:
        if not 1 <= len(key) <= limits.TAG_KEY_CHARACTERS_MAX:
            raise _key_length()
        _check_characters("keys", key)


def _key_length() -> SqsError:
    return _refused(
        f"Tag keys must be between 1 and {limits.TAG_KEY_CHARACTERS_MAX} characters in length."
    )


def _check_characters(what: str, text: str) -> None:
    if not _CHARACTERS.fullmatch(text):
        raise _refused(
            f"Tag {what} may only contain unicode letters, digits, whitespace, or one of these"
            " symbols: _ . : / = + - @"
        )
    if text.lower().startswith(_RESERVED):
        raise _refused(
            f"{_RESERVED} prefixed tag {'key names' if what == 'keys' else what} are not allowed"
            " for external use."
        )


def _refused(text: str) -> SqsError:
    return SqsError(errors.INVALID_PARAMETER_VALUE, text)


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
        raise _key_length()
    _check_keys(request.tag_keys)
    queue.tags = {key: value for key, value in queue.tags.items() if key not in request.tag_keys}
    state.save_queue(queue)
    return EmptyResult()


def list_queue_tags(
    state: EngineState, request: ListQueueTagsRequest, caller: Caller, now_ms: int
) -> ListQueueTagsResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    return ListQueueTagsResult(tags=queue.tags or None)
