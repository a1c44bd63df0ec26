"""ReceiveMessage.

Source: API ReceiveMessage.
"""

from __future__ import annotations

from msgspec import Struct

from forebay.broker.core import validation
from forebay.broker.core.attempts import Delivered
from forebay.broker.core.message import Message
from forebay.broker.core.queue import Queue
from forebay.broker.core.state import Caller, EngineState
from forebay.protocol import actions, errors
from forebay.protocol.actions import (
    MessageAttributes,
    ReceiveMessageRequest,
    ReceiveMessageResult,
)
from forebay.protocol.checksums import md5_of_attributes
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import encode_receipt_handle, sequence_number
from forebay.protocol.limits import IN_FLIGHT_MESSAGES_MAX

#: The system attributes that a receiver may ask for.
SYSTEM_ATTRIBUTES = frozenset(
    {
        "All",
        "AWSTraceHeader",
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
    }
)

#: How long a receive waits for messages from the journal, or from behind dead letters, though it
#: asked not to wait, in ms. A page takes a few; only a disk that hangs takes so long.
_PAGE_WAIT_MS = 2_000

#: Size of the messages that are dead-lettered in one commit, in characters, about. Each is in the
#: commit log once more, and a commit has to fit into the reserve of a small disk.
_DEAD_LETTERED_SIZE_MAX = 262_144

_TOO_MUCH_RECEIVED = (
    "The messages that were received and not deleted take too much of the broker's memory. Delete"
    " messages after processing them."
)

_ALL_ATTRIBUTES = frozenset({"All", "*", ".*"})


class Wait(Struct, frozen=True, gc=False):
    """A receive that found nothing: ask again when the queue is readable, or give up.

    It is a long poll, or messages are on their way from the journal.
    """

    queue_number: int
    #: Engine time at which the poll is answered empty, in ms.
    until_ms: int


def receive_message(
    state: EngineState, request: ReceiveMessageRequest, caller: Caller, now_ms: int
) -> ReceiveMessageResult | Wait:
    queue = state.queue(request.queue_url, caller, now_ms)
    limit, timeout_ms, wait_s, system_names = _check(queue, request)
    messages = _repeat(state, queue, request, now_ms, timeout_ms)
    if not messages:
        limit = _room(queue, limit, wait_s)
        messages = _deliver(state, queue, limit, request, now_ms, timeout_ms)
    state.ask_for_page(queue, now_ms)
    state.reschedule(queue)
    if not messages:
        wait_ms = wait_s * 1000
        if limit > 0 and queue.held.awaits_page:
            wait_ms = max(wait_ms, _PAGE_WAIT_MS)
        elif limit > 0 and queue.has_ready() and not state.redelivers_alone:
            # Behind as many messages as one commit dead-letters there are others, for the next one.
            wait_ms = max(wait_ms, _PAGE_WAIT_MS)
            queue.due_ms = now_ms + 1
            state.reschedule(queue)
        if wait_ms > 0:
            return Wait(queue.number, now_ms + wait_ms)
        if state.redelivers_alone and queue.has_ready():
            raise SqsError(errors.OVER_LIMIT, _TOO_MUCH_RECEIVED)
        return ReceiveMessageResult()
    if queue.has_ready():
        # Others may be waiting for what this receive left, or gave back at once.
        state.readable[queue.number] = None
    user_names = request.message_attribute_names
    return ReceiveMessageResult(
        messages=[shown(queue, message, system_names, user_names) for message in messages]
    )


def _check(
    queue: Queue, request: ReceiveMessageRequest
) -> tuple[int, int, int, frozenset[str] | None]:
    """Limit, visibility timeout in ms, wait in s, and the system attributes asked for."""
    limit = 1
    if request.max_number_of_messages is not None:
        limit = request.max_number_of_messages
        validation.check_max_number_of_messages(limit)
    timeout_ms = queue.settings.visibility_timeout_ms
    if request.visibility_timeout is not None:
        validation.check_visibility_of_receive(request.visibility_timeout)
        timeout_ms = request.visibility_timeout * 1000
    wait_s = queue.settings.wait_time_s
    if request.wait_time_seconds is not None:
        wait_s = request.wait_time_seconds
        validation.check_wait_time_seconds(wait_s)
    if request.receive_request_attempt_id is not None:
        validation.check_token("ReceiveRequestAttemptId", request.receive_request_attempt_id)
    names: frozenset[str] | None = None
    if request.attribute_names or request.message_system_attribute_names:
        names = frozenset(
            (request.attribute_names or []) + (request.message_system_attribute_names or [])
        )
        for name in names - SYSTEM_ATTRIBUTES:
            raise SqsError(errors.INVALID_ATTRIBUTE_NAME, f"Unknown Attribute {name}.")
    return limit, timeout_ms, wait_s, names


def _room(queue: Queue, limit: int, wait_s: int) -> int:
    """How many messages may be delivered under the quota of messages in flight.

    At the quota a long poll waits for room, and a receive of a FIFO queue finds nothing. Source:
    SQSDeveloperGuide/troubleshooting-messages-not-returned-ReceiveMessage.html
    """
    room = IN_FLIGHT_MESSAGES_MAX - queue.in_flight_count
    if room <= 0 and wait_s == 0 and not queue.settings.fifo:
        raise SqsError(errors.OVER_LIMIT)
    return max(0, min(limit, room))


def _repeat(
    state: EngineState, queue: Queue, request: ReceiveMessageRequest, now_ms: int, timeout_ms: int
) -> list[Message]:
    """What an earlier receive with the same attempt id delivered, hidden anew; else nothing."""
    attempt_id = request.receive_request_attempt_id
    if attempt_id is None or queue.attempts is None:
        return []
    messages = []
    for delivered in queue.attempts.find(attempt_id, now_ms):
        message = queue.messages.get(delivered.sequence)
        if message is None or _as_delivered(queue, message) != delivered:
            return []
        messages.append(message)
    if timeout_ms == 0:
        return []
    for message in messages:
        queue.hide(message, now_ms, now_ms + timeout_ms)
    _save_deliveries(state, queue, messages, now_ms, timeout_ms, attempt_id)
    return messages


def _as_delivered(queue: Queue, message: Message) -> Delivered:
    return Delivered(message.sequence, message.receive_count, queue.visible_at(message))


def _save_deliveries(
    state: EngineState,
    queue: Queue,
    messages: list[Message],
    now_ms: int,
    timeout_ms: int,
    attempt_id: str | None,
) -> None:
    for message in messages:
        state.save_delivery(message, now_ms + timeout_ms, attempt_id)
    if attempt_id is not None and queue.attempts is not None and messages:
        delivered = [_as_delivered(queue, message) for message in messages]
        queue.attempts.remember(attempt_id, delivered, now_ms)


def _deliver(
    state: EngineState,
    queue: Queue,
    limit: int,
    request: ReceiveMessageRequest,
    now_ms: int,
    timeout_ms: int,
) -> list[Message]:
    policy = queue.settings.redrive_policy
    target = state.queues.get(policy.target) if policy is not None else None
    max_receive_count = (
        policy.max_receive_count if policy is not None and target is not None else None
    )
    messages, exhausted = queue.select(
        limit,
        max_receive_count,
        now_ms,
        received_alone=state.redelivers_alone,
        exhausted_size_max=_DEAD_LETTERED_SIZE_MAX - state.dead_lettered_size,
    )
    if target is not None:
        for message in exhausted:
            state.dead_letter(queue, message, target, now_ms)
    wall_ms = now_ms + state.wall_offset_ms
    for message in messages:
        queue.deliver(message, now_ms, wall_ms, timeout_ms)
    attempt_id = request.receive_request_attempt_id if queue.settings.fifo else None
    _save_deliveries(state, queue, messages, now_ms, timeout_ms, attempt_id)
    return messages


def shown(
    queue: Queue,
    message: Message,
    system_names: frozenset[str] | None,
    user_names: list[str] | None,
) -> actions.Message:
    attributes = attributes_md5 = None
    if message.extras is not None:
        attributes = _chosen_attributes(message.attributes, user_names)
    if attributes:
        whole = attributes is message.attributes
        attributes_md5 = message.attributes_md5 if whole else md5_of_attributes(attributes)
    return actions.Message(
        message_id=message.message_id,
        receipt_handle=encode_receipt_handle(
            queue.number, message.sequence, message.receive_count, message.message_id
        ),
        md5_of_body=message.body_md5,
        body=message.body,
        attributes=_system_attributes(queue, message, system_names) if system_names else None,
        md5_of_message_attributes=attributes_md5,
        message_attributes=attributes,
    )


def _system_attributes(
    queue: Queue, message: Message, names: frozenset[str]
) -> dict[str, str] | None:
    known: dict[str, str | None] = {
        "SenderId": message.sender_id,
        "SentTimestamp": str(message.sent_at_ms),
        "ApproximateReceiveCount": str(message.receive_count),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_at_ms),
        "MessageGroupId": message.group_id,
    }
    if queue.settings.fifo:
        known["MessageDeduplicationId"] = message.deduplication_id
        known["SequenceNumber"] = sequence_number(message.sequence)
    if message.extras is not None:
        known["AWSTraceHeader"] = message.extras.trace_header
        known["DeadLetterQueueSourceArn"] = message.extras.dead_letter_source_arn
    everything = "All" in names
    chosen = {
        name: value
        for name, value in known.items()
        if value is not None and (everything or name in names)
    }
    return chosen or None


def _chosen_attributes(
    attributes: MessageAttributes | None, names: list[str] | None
) -> MessageAttributes | None:
    """The user's attributes that a receiver asked for; a name that fits none is ignored."""
    if not attributes or not names:
        return None
    if not _ALL_ATTRIBUTES.isdisjoint(names):
        return attributes
    prefixes = tuple(name.removesuffix(".*") for name in names if name.endswith(".*"))
    chosen = {
        name: value
        for name, value in attributes.items()
        if name in names or (prefixes and name.startswith(prefixes))
    }
    if len(chosen) == len(attributes):
        return attributes
    return chosen or None
