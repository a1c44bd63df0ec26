"""The actions on queues themselves: create, find, list, delete, purge, and their attributes.

Source: API CreateQueue, GetQueueUrl, ListQueues, DeleteQueue, PurgeQueue, GetQueueAttributes and
SetQueueAttributes.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

from forebay.broker.core import attributes as queue_attributes
from forebay.broker.core import validation
from forebay.broker.core.changes import QueueRecord
from forebay.broker.core.deduplication_scope import change_scope
from forebay.broker.core.delay_changes import DelayChange
from forebay.broker.core.policy_document import refused_policy
from forebay.broker.core.queue import Queue
from forebay.broker.core.redrive import redrive_policy
from forebay.broker.core.state import Caller, EngineState
from forebay.broker.core.tags import check_tags
from forebay.protocol import errors, limits
from forebay.protocol.actions import (
    CreateQueueRequest,
    CreateQueueResult,
    DeleteQueueRequest,
    EmptyResult,
    GetQueueAttributesRequest,
    GetQueueAttributesResult,
    GetQueueUrlRequest,
    GetQueueUrlResult,
    ListDeadLetterSourceQueuesRequest,
    ListDeadLetterSourceQueuesResult,
    ListQueuesRequest,
    ListQueuesResult,
    PurgeQueueRequest,
    SetQueueAttributesRequest,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX, QueueKey, is_queue_name, queue_url


def create_queue(
    state: EngineState, request: CreateQueueRequest, caller: Caller, now_ms: int
) -> CreateQueueResult:
    """Create a queue, or answer the one that is there when no attribute or tag differs."""
    key = QueueKey(caller.region, caller.account_id, request.queue_name)
    given = request.attributes or {}
    fifo = _check_name(request.queue_name, given)
    canonical = _canonical_for_creation(state, given, fifo=fifo)
    tags = request.tags or {}
    check_tags(key.name, tags)
    existing = state.queues.get(key)
    if existing is not None:
        _check_same(existing, canonical, tags)
        return CreateQueueResult(queue_url=queue_url(caller.endpoint_url, key))
    _check_not_deleted_recently(state, key, now_ms)
    merged = queue_attributes.merged_attributes({}, canonical)
    if "RedrivePolicy" in merged:
        _check_dead_letter_target(state, key, merged, given["RedrivePolicy"], fifo=fifo)
    if state.shortage is not None:
        raise state.refuse_to_grow()
    queue = state.add_queue(
        QueueRecord(
            number=state.next_queue_number,
            account_id=key.account_id,
            name=key.name,
            region=key.region,
            created_at_ms=now_ms + state.wall_offset_ms,
            modified_at_ms=now_ms + state.wall_offset_ms,
            purged_at_ms=None,
            attributes=merged,
            tags=tags,
        )
    )
    state.next_queue_number += 1
    state.save_queue(queue)
    return CreateQueueResult(queue_url=queue_url(caller.endpoint_url, key))


def get_queue_url(
    state: EngineState, request: GetQueueUrlRequest, caller: Caller, now_ms: int
) -> GetQueueUrlResult:
    if not request.queue_name:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "Value for parameter QueueName is invalid. Reason: Must specify a queue name.",
        )
    account_id = request.queue_owner_aws_account_id or caller.account_id
    queue = state.queue_of_key(QueueKey(caller.region, account_id, request.queue_name))
    return GetQueueUrlResult(queue_url=queue_url(caller.endpoint_url, queue.key))


def list_queues(
    state: EngineState, request: ListQueuesRequest, caller: Caller, now_ms: int
) -> ListQueuesResult:
    """The caller's queues in its region, by name. Pages only with MaxResults, as SQS does."""
    if request.next_token and request.max_results is None:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "MaxResults is a mandatory parameter when you provide a value for NextToken.",
        )
    prefix = request.queue_name_prefix or ""
    own = {
        key.name: key
        for key in state.queues
        if key.account_id == caller.account_id
        and key.region == caller.region
        and key.name.startswith(prefix)
    }
    last_name = _decode_token(request.next_token, "Invalid NextToken value.")
    if not last_name.startswith(prefix if last_name else ""):
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "Invalid NextToken value. If you are passing in NextToken, you must not change the"
            " other request parameters.",
        )
    page, next_token = _page(sorted(own), request.max_results, last_name)
    urls = [queue_url(caller.endpoint_url, own[name]) for name in page]
    return ListQueuesResult(queue_urls=urls or None, next_token=next_token)


def list_dead_letter_source_queues(
    state: EngineState, request: ListDeadLetterSourceQueuesRequest, caller: Caller, now_ms: int
) -> ListDeadLetterSourceQueuesResult:
    """The queues whose redrive policy names this queue, paged as ListQueues is."""
    target = state.queue(request.queue_url, caller, now_ms)
    urls = sorted(
        queue_url(caller.endpoint_url, source.key) for source in state.dead_letter_sources(target)
    )
    last_url = _decode_token(request.next_token, "Invalid or expired next token.")
    page, next_token = _page(urls, request.max_results, last_url)
    return ListDeadLetterSourceQueuesResult(queue_urls=page, next_token=next_token)


def delete_queue(
    state: EngineState, request: DeleteQueueRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    state.remove_queue(state.queue(request.queue_url, caller, now_ms), now_ms)
    return EmptyResult()


def purge_queue(
    state: EngineState, request: PurgeQueueRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    """Drop every message, delayed and in flight ones and the deduplication window too."""
    queue = state.queue(request.queue_url, caller, now_ms)
    if queue.purged_at_ms is not None and now_ms - queue.purged_at_ms < limits.PURGE_INTERVAL_MS:
        raise SqsError(
            errors.PURGE_QUEUE_IN_PROGRESS,
            f"Only one PurgeQueue operation on {queue.key.name} is allowed every"
            f" {limits.PURGE_INTERVAL_MS // 1000} seconds.",
        )
    # What is sent from now on is available from now on, and has a sequence of its own.
    queue.purge(state.next_sequence if queue.settings.fifo else now_ms)
    queue.purged_at_ms = now_ms
    state.changes.purged[queue.number] = state.next_sequence - 1
    state.changes.recounted_delays.pop(queue.number, None)
    state.save_queue(queue)
    state.reschedule(queue)
    state.readable[queue.number] = None
    return EmptyResult()


def get_queue_attributes(
    state: EngineState, request: GetQueueAttributesRequest, caller: Caller, now_ms: int
) -> GetQueueAttributesResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    names = set(request.attribute_names or [])
    for name in sorted(names):
        if not _is_attribute(name):
            raise SqsError(errors.INVALID_ATTRIBUTE_NAME, f"Unknown Attribute {name}.")
    if "All" in names:
        names = {*queue_attributes.SETTABLE, *queue_attributes.COMPUTED}
    chosen: dict[str, str] = {}
    for name in sorted(names):
        value = _attribute_value(queue, name)
        if value is not None:
            chosen[name] = value
    return GetQueueAttributesResult(attributes=chosen or None)


def set_queue_attributes(
    state: EngineState, request: SetQueueAttributesRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    fifo = queue.settings.fifo
    if not request.attributes:
        raise validation.missing("Attribute.Name")
    canonical = queue_attributes.canonical_attributes(request.attributes, fifo=fifo)
    _check_policy(state, canonical)
    if canonical.get("FifoQueue") == "false":
        raise SqsError(
            errors.INVALID_ATTRIBUTE_VALUE,
            "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not"
            " supported.",
        )
    merged = queue_attributes.merged_attributes(queue.attributes, canonical)
    if canonical.get("RedrivePolicy"):
        given = request.attributes["RedrivePolicy"]
        _check_dead_letter_target(state, queue.key, merged, given, fifo=fifo)
    former = queue.settings
    queue.set_attributes(merged)
    if queue.settings.deduplicate_by_group != former.deduplicate_by_group:
        change_scope(queue, now_ms)
    shift_ms = queue.settings.delay_ms - former.delay_ms if fifo else 0
    if shift_ms:
        last_sequence = state.next_sequence - 1
        queue.change_delays(shift_ms, DelayChange(now_ms, last_sequence, queue.settings.delay_ms))
    queue.modified_at_ms = now_ms + state.wall_offset_ms
    state.save_queue(queue)
    state.reschedule(queue)
    state.settle(queue, now_ms)
    if shift_ms:
        state.save_delays(queue)
    if queue.is_readable():
        state.readable[queue.number] = None
    return EmptyResult()


def _is_attribute(name: str) -> bool:
    return name == "All" or name in queue_attributes.SETTABLE or name in queue_attributes.COMPUTED


def _attribute_value(queue: Queue, name: str) -> str | None:
    match name:
        case "ApproximateNumberOfMessages":
            return str(queue.visible_count)
        case "ApproximateNumberOfMessagesDelayed":
            return str(queue.delayed_count)
        case "ApproximateNumberOfMessagesNotVisible":
            return str(queue.in_flight_count)
        case "CreatedTimestamp":
            return str(queue.created_at_ms // 1000)
        case "LastModifiedTimestamp":
            return str(queue.modified_at_ms // 1000)
        case "QueueArn":
            return queue.arn
        case _:
            return queue_attributes.effective_attribute(
                queue.attributes, name, fifo=queue.settings.fifo
            )


def _canonical_for_creation(
    state: EngineState, given: dict[str, str], *, fifo: bool
) -> dict[str, str]:
    try:
        canonical = queue_attributes.canonical_attributes(given, fifo=fifo)
    except SqsError as error:
        if error.fault is not errors.OVER_LIMIT:
            raise
        # CreateQueue has no such error.
        raise SqsError(errors.INVALID_PARAMETER_VALUE, error.message) from error
    _check_policy(state, canonical)
    return canonical


def _check_policy(state: EngineState, canonical: dict[str, str]) -> None:
    """Raise SqsError when a new policy could not be enforced."""
    text = canonical.get("Policy")
    if text and (problems := state.policy_problems(text)):
        raise refused_policy(" ".join(problems))


def _check_name(name: str, attributes: dict[str, str]) -> bool:
    """Whether the name is of a FIFO queue. Raises SqsError unless name and FifoQueue agree."""
    if not name:
        raise SqsError(errors.INVALID_PARAMETER_VALUE, "Queue name cannot be empty.")
    asked_for_fifo = attributes.get("FifoQueue", "").lower() == "true"
    if asked_for_fifo and not (name.endswith(FIFO_SUFFIX) and is_queue_name(name)):
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or"
            " underscores, must end with .fifo suffix and be 1 to 80 in length.",
        )
    if not is_queue_name(name) or (name.endswith(FIFO_SUFFIX) and not asked_for_fifo):
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )
    return asked_for_fifo


def _check_same(queue: Queue, canonical: dict[str, str], tags: dict[str, str]) -> None:
    """Raise SqsError (QueueNameExists) unless all that is given is as the queue has it."""
    for name, value in canonical.items():
        current = queue_attributes.effective_attribute(
            queue.attributes, name, fifo=queue.settings.fifo
        )
        if (current or "") != value:
            raise SqsError(
                errors.QUEUE_NAME_EXISTS,
                "A queue already exists with the same name and a different value for attribute"
                f" {name}",
            )
    if tags and tags != queue.tags:
        raise SqsError(
            errors.QUEUE_NAME_EXISTS,
            "A queue already exists with the same name and a different value for tags",
        )


def _check_not_deleted_recently(state: EngineState, key: QueueKey, now_ms: int) -> None:
    deleted_at_ms = state.deleted_at_ms.pop(key, None)
    if deleted_at_ms is not None and now_ms - deleted_at_ms < state.recreate_interval_ms:
        state.deleted_at_ms[key] = deleted_at_ms
        raise SqsError(errors.QUEUE_DELETED_RECENTLY)


def _check_dead_letter_target(
    state: EngineState, source: QueueKey, attributes: dict[str, str], given: str, *, fifo: bool
) -> None:
    """Raise SqsError, which quotes the policy as given, unless its target may serve the source."""
    policy = redrive_policy(attributes["RedrivePolicy"])
    target = state.queues.get(policy.target)
    reason = None
    if policy.target.region != source.region:
        reason = "Dead-letter target must be in same region as the source."
    elif policy.target.account_id != source.account_id:
        reason = "Dead-letter target owner should be same as the source."
    elif target is None:
        reason = "Dead letter target does not exist."
    elif target.settings.fifo != fifo:
        # The second full stop is AWS's.
        reason = "Dead-letter queue must be same type of queue as the source.."
    elif not target.settings.redrive_allow_policy.allows(source):
        reason = "The dead-letter queue does not allow this queue as a source."
    if reason is not None:
        raise validation.invalid("RedrivePolicy", given, reason)


def _page(names: list[str], page_size: int | None, after: str) -> tuple[list[str], str | None]:
    """The page of sorted names behind one of them, and the token of the next page.

    Without a page size SQS answers the first thousand and no token.
    """
    if page_size is not None and not 1 <= page_size <= limits.LIST_RESULTS_MAX:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer"
            f" between 1 and {limits.LIST_RESULTS_MAX}.",
        )
    names = [name for name in names if name > after]
    page = names[: page_size or limits.LIST_RESULTS_MAX]
    more = page_size is not None and len(names) > len(page)
    return page, _encode_token(page[-1]) if more else None


def _encode_token(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode()


def _decode_token(token: str | None, refusal: str) -> str:
    """The last name of the page before; empty for the first page."""
    if not token:
        return ""
    try:
        name = urlsafe_b64decode(token).decode()
    except (Base64Error, ValueError) as error:
        raise SqsError(errors.INVALID_PARAMETER_VALUE, refusal) from error
    if _encode_token(name) != token:
        raise SqsError(errors.INVALID_PARAMETER_VALUE, refusal)
    return name
