"""SendMessage and SendMessageBatch."""

from __future__ import annotations

import hashlib

from msgspec import Struct

from forebay.broker.core import message_attributes, validation
from forebay.broker.core.batch import failed_entry
from forebay.broker.core.changes import MessageExtras
from forebay.broker.core.deduplication import DeduplicationWindow, Key, key_of
from forebay.broker.core.deduplication_scope import scopes
from forebay.broker.core.message import Message
from forebay.broker.core.queue import Queue
from forebay.broker.core.state import Caller, EngineState
from forebay.protocol import errors
from forebay.protocol.actions import (
    MessageToSend,
    SendMessageBatchRequest,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
    SendMessageRequest,
    SendMessageResult,
)
from forebay.protocol.checksums import content_deduplication_id, md5_of_attributes
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import sequence_number

_ENTRY_NAME = "SendMessageBatchRequestEntry"

_WRONG_QUEUE_TYPE = "The request include parameter that is not valid for this queue type."


#: Expired deduplication ids that one send forgets at most, so that none pays for the many of an
#: earlier spike.
_FORGOTTEN_MAX = 16


class _Sent(Struct, gc=False):
    """A message that was accepted, with what its sender is told."""

    message_id: str
    sequence_number: str | None
    body_md5: str
    attributes_md5: str | None
    system_attributes_md5: str | None


def send_message(
    state: EngineState, request: SendMessageRequest, caller: Caller, now_ms: int
) -> SendMessageResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    if state.shortage is not None:
        queue.totals.refused += 1
        raise state.refuse_to_grow()
    if queue.settings.fifo and request.message_group_id is None:
        raise validation.missing("MessageGroupId")
    if request.message_attributes or request.message_system_attributes:
        message_attributes.refuse_lists(request, "SendMessage")
    sent = _send(state, queue, request, caller, now_ms)
    return SendMessageResult(
        message_id=sent.message_id,
        md5_of_message_body=sent.body_md5,
        md5_of_message_attributes=sent.attributes_md5,
        md5_of_message_system_attributes=sent.system_attributes_md5,
        sequence_number=sent.sequence_number,
    )


def send_message_batch(
    state: EngineState, request: SendMessageBatchRequest, caller: Caller, now_ms: int
) -> SendMessageBatchResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    validation.check_batch(request.entries, _ENTRY_NAME)
    if state.shortage is not None:
        # The whole request, because SDKs do not repeat entries by themselves.
        queue.totals.refused += len(request.entries)
        raise state.refuse_to_grow()
    validation.check_batch_size(_claimed_size_bytes(entry) for entry in request.entries)
    for entry in request.entries:
        if entry.message_attributes or entry.message_system_attributes:
            message_attributes.refuse_lists(entry, "SendMessageBatch")
    if queue.settings.fifo:
        for entry in request.entries:
            _check_fifo_ids(queue, entry)
    result = SendMessageBatchResult()
    for number, entry in enumerate(request.entries, 1):
        try:
            if not entry.message_body:
                raise validation.missing(f"{_ENTRY_NAME}.{number}.MessageBody")
            sent = _send(state, queue, entry, caller, now_ms)
        except SqsError as error:
            result.failed = result.failed or []
            result.failed.append(failed_entry(entry.id, error))
            continue
        result.successful = result.successful or []
        result.successful.append(
            SendMessageBatchResultEntry(
                id=entry.id,
                message_id=sent.message_id,
                md5_of_message_body=sent.body_md5,
                md5_of_message_attributes=sent.attributes_md5,
                md5_of_message_system_attributes=sent.system_attributes_md5,
                sequence_number=sent.sequence_number,
            )
        )
    return result


def _claimed_size_bytes(entry: MessageToSend) -> int:
    body = entry.message_body
    size = len(body) if body.isascii() else len(body.encode("utf-8", "replace"))
    if entry.message_attributes:
        size += message_attributes.attributes_size_bytes(entry.message_attributes)
    return size


def _check_fifo_ids(queue: Queue, entry: MessageToSend) -> None:
    """Raise SqsError when an id is missing. In a batch one such entry fails the whole request."""
    if entry.message_group_id is None:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE, "The request must contain the parameter MessageGroupId."
        )
    if entry.message_deduplication_id is None and not queue.settings.content_based_deduplication:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "The queue should either have ContentBasedDeduplication enabled or"
            " MessageDeduplicationId provided explicitly",
        )


def _send(
    state: EngineState, queue: Queue, entry: MessageToSend, caller: Caller, now_ms: int
) -> _Sent:
    """Add a message, unless it is a duplicate. Raises SqsError when SQS refuses it.

    Most messages are a body and no more, and pay for nothing else.
    """
    settings = queue.settings
    encoded = validation.encoded_body(entry.message_body)
    size_bytes = len(encoded)
    attributes_md5 = system_attributes_md5 = trace_header = extras = None
    if attributes := entry.message_attributes:
        message_attributes.check_message_attributes(attributes)
        size_bytes += message_attributes.attributes_size_bytes(attributes)
        attributes_md5 = md5_of_attributes(attributes)
    if size_bytes > settings.maximum_message_bytes:
        raise validation.too_long(settings.maximum_message_bytes)
    if system_attributes := entry.message_system_attributes:
        trace_header = message_attributes.trace_header(system_attributes)
        system_attributes_md5 = md5_of_attributes(system_attributes)
    if attributes or trace_header:
        extras = MessageExtras(attributes or None, trace_header)
    delay_ms = settings.delay_ms
    if entry.delay_seconds is not None:
        delay_ms = _delay_ms(queue, entry.delay_seconds)
    group_id = entry.message_group_id
    if group_id is not None:
        validation.check_token("MessageGroupId", group_id)
    deduplication_id = entry.message_deduplication_id
    if settings.fifo or deduplication_id is not None:
        deduplication_id = _deduplication_id(queue, entry)
    body_md5 = hashlib.md5(encoded, usedforsecurity=False).hexdigest()
    sent = _Sent("", None, body_md5, attributes_md5, system_attributes_md5)
    window = queue.deduplication
    scope, key = "", 0
    if window is not None:
        if settings.deduplicate_by_group:
            scope = group_id or ""
        other_scope = None
        if now_ms < queue.scope_settled_ms:
            scope, other_scope = scopes(queue, group_id or "", now_ms)
        key = key_of(scope, deduplication_id or "")
        original = window.find(key, now_ms)
        if original is None and other_scope is not None:
            original = window.find(key_of(other_scope, deduplication_id or ""), now_ms)
        if original is not None:
            queue.totals.deduplicated += 1
            sent.message_id = original.message_id
            sent.sequence_number = sequence_number(original.sequence)
            return sent
    message = Message(
        sequence=state.take_sequence(),
        message_id=state.take_message_id(),
        body=entry.message_body,
        body_md5=body_md5,
        enqueued_at_ms=now_ms,
        available_at_ms=now_ms + delay_ms,
        sent_at_ms=now_ms + state.wall_offset_ms,
        sender_id=caller.account_id,
        group_id=group_id,
        deduplication_id=deduplication_id,
        extras=extras,
        attributes_md5=attributes_md5,
    )
    sent.message_id = message.message_id
    queue.add(message, now_ms)
    queue.totals.sent += 1
    state.save_message(queue, message)
    if window is not None:
        sent.sequence_number = sequence_number(message.sequence)
        _remember(state, queue, window, (scope, key), message)
    if queue.is_readable():
        state.readable[queue.number] = None
    if queue.due_ms != queue.scheduled_ms:
        state.reschedule(queue)
    return sent


def _wrong_queue_type(parameter: str, value: object) -> SqsError:
    return validation.invalid(
        parameter, value, _WRONG_QUEUE_TYPE, in_batch=errors.INVALID_PARAMETER_VALUE
    )


def _delay_ms(queue: Queue, delay_s: int) -> int:
    """The delay that a sender asked for."""
    if queue.settings.fifo:
        if delay_s != 0:
            raise _wrong_queue_type("DelaySeconds", delay_s)
        return queue.settings.delay_ms
    validation.check_delay_seconds(delay_s)
    return delay_s * 1000


def _deduplication_id(queue: Queue, entry: MessageToSend) -> str:
    """The id that tells a message on a FIFO queue from its duplicates."""
    given = entry.message_deduplication_id
    if given is None:
        _check_fifo_ids(queue, entry)
        return content_deduplication_id(entry.message_body)
    if not queue.settings.fifo:
        raise _wrong_queue_type("MessageDeduplicationId", given)
    validation.check_token("MessageDeduplicationId", given)
    return given


def _remember(
    state: EngineState,
    queue: Queue,
    window: DeduplicationWindow,
    known_by: tuple[str, Key],
    message: Message,
) -> None:
    scope, key = known_by
    now_ms = message.enqueued_at_ms
    expires_at_ms = window.remember(key, message.sequence, message.message_id, now_ms)
    state.changes.deduplications.append(
        (
            message.sequence,
            queue.number,
            scope,
            message.deduplication_id or "",
            message.message_id,
            expires_at_ms,
        )
    )
    state.forget_deduplications(window, now_ms, _FORGOTTEN_MAX)
