"""SendMessage and SendMessageBatch."""

from __future__ import annotations

import hashlib

from msgspec import Struct

from forebay.broker.core import validation
from forebay.broker.core.batch import failed_entry
from forebay.broker.core.changes import MessageExtras
from forebay.broker.core.deduplication import DeduplicationWindow
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
from forebay.protocol.identifiers import message_id, sequence_number

_ENTRY_NAME = "SendMessageBatchRequestEntry"

_WRONG_QUEUE_TYPE = "The request include parameter that is not valid for this queue type."


class _Draft(Struct, gc=False):
    """A message that SQS accepts, before it has an identity."""

    body: str
    body_md5: str
    attributes_md5: str | None
    system_attributes_md5: str | None
    extras: MessageExtras | None
    delay_ms: int
    group_id: str | None
    deduplication_id: str | None


def send_message(
    state: EngineState, request: SendMessageRequest, caller: Caller, now_ms: int
) -> SendMessageResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    if queue.settings.fifo and request.message_group_id is None:
        raise validation.missing("MessageGroupId")
    draft = _draft(queue, request)
    sequence, identifier = _store(state, queue, draft, caller, now_ms)
    return SendMessageResult(
        message_id=identifier,
        md5_of_message_body=draft.body_md5,
        md5_of_message_attributes=draft.attributes_md5,
        md5_of_message_system_attributes=draft.system_attributes_md5,
        sequence_number=sequence_number(sequence) if queue.settings.fifo else None,
    )


def send_message_batch(
    state: EngineState, request: SendMessageBatchRequest, caller: Caller, now_ms: int
) -> SendMessageBatchResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    validation.check_batch(request.entries, _ENTRY_NAME)
    validation.check_batch_size(_claimed_size_bytes(entry) for entry in request.entries)
    if queue.settings.fifo:
        for entry in request.entries:
            _check_fifo_ids(queue, entry)
    result = SendMessageBatchResult()
    for number, entry in enumerate(request.entries, 1):
        try:
            if not entry.message_body:
                raise validation.missing(f"{_ENTRY_NAME}.{number}.MessageBody")
            draft = _draft(queue, entry)
        except SqsError as error:
            result.failed = result.failed or []
            result.failed.append(failed_entry(entry.id, error))
            continue
        sequence, identifier = _store(state, queue, draft, caller, now_ms)
        result.successful = result.successful or []
        result.successful.append(
            SendMessageBatchResultEntry(
                id=entry.id,
                message_id=identifier,
                md5_of_message_body=draft.body_md5,
                md5_of_message_attributes=draft.attributes_md5,
                md5_of_message_system_attributes=draft.system_attributes_md5,
                sequence_number=sequence_number(sequence) if queue.settings.fifo else None,
            )
        )
    return result


def _claimed_size_bytes(entry: MessageToSend) -> int:
    size = len(entry.message_body.encode("utf-8", "replace"))
    if entry.message_attributes:
        size += validation.attributes_size_bytes(entry.message_attributes)
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


def _draft(queue: Queue, message: MessageToSend) -> _Draft:
    """What will be stored. Raises SqsError when SQS refuses the message."""
    encoded = validation.encoded_body(message.message_body)
    size_bytes = len(encoded)
    attributes = message.message_attributes or None
    if attributes is not None:
        validation.check_message_attributes(attributes)
        size_bytes += validation.attributes_size_bytes(attributes)
    validation.check_message_size(size_bytes, queue.settings.maximum_message_bytes)
    system_attributes = message.message_system_attributes or None
    trace_header = validation.trace_header(system_attributes)
    if message.message_group_id is not None:
        validation.check_token("MessageGroupId", message.message_group_id)
    return _Draft(
        message.message_body,
        hashlib.md5(encoded, usedforsecurity=False).hexdigest(),
        md5_of_attributes(attributes) if attributes else None,
        md5_of_attributes(system_attributes) if system_attributes else None,
        MessageExtras(attributes, trace_header) if attributes or trace_header else None,
        _delay_ms(queue, message.delay_seconds),
        message.message_group_id,
        _deduplication_id(queue, message),
    )


def _wrong_queue_type(parameter: str, value: object) -> SqsError:
    return validation.invalid(
        parameter, value, _WRONG_QUEUE_TYPE, in_batch=errors.INVALID_PARAMETER_VALUE
    )


def _delay_ms(queue: Queue, delay_s: int | None) -> int:
    if delay_s is None or (queue.settings.fifo and delay_s == 0):
        return queue.settings.delay_ms
    if queue.settings.fifo:
        raise _wrong_queue_type("DelaySeconds", delay_s)
    validation.check_delay_seconds(delay_s)
    return delay_s * 1000


def _deduplication_id(queue: Queue, message: MessageToSend) -> str | None:
    given = message.message_deduplication_id
    if not queue.settings.fifo:
        if given is not None:
            raise _wrong_queue_type("MessageDeduplicationId", given)
        return None
    if given is not None:
        validation.check_token("MessageDeduplicationId", given)
        return given
    _check_fifo_ids(queue, message)
    return content_deduplication_id(message.message_body)


def _store(
    state: EngineState, queue: Queue, draft: _Draft, caller: Caller, now_ms: int
) -> tuple[int, str]:
    """Add the message; answer its sequence and id, or its original's when it is a duplicate."""
    window = queue.deduplication
    scope = (draft.group_id or "") if queue.settings.deduplicate_by_group else ""
    if window is not None:
        original = window.find(scope, draft.deduplication_id or "", now_ms)
        if original is not None:
            queue.totals.deduplicated += 1
            return original.sequence, original.message_id
    sequence = state.take_sequence()
    identifier = message_id(state.entropy(16))
    message = Message(
        sequence=sequence,
        message_id=identifier,
        body=draft.body,
        body_md5=draft.body_md5,
        enqueued_at_ms=now_ms,
        available_at_ms=now_ms + draft.delay_ms,
        sent_at_ms=now_ms + state.wall_offset_ms,
        sender_id=caller.account_id,
        group_id=draft.group_id,
        deduplication_id=draft.deduplication_id,
        extras=draft.extras,
        attributes_md5=draft.attributes_md5,
    )
    queue.add(message, now_ms)
    queue.totals.sent += 1
    state.save_message(queue, message)
    if window is not None:
        _remember(state, queue, window, scope, message)
    if queue.is_readable():
        state.readable[queue.number] = None
    state.reschedule(queue)
    return sequence, identifier


def _remember(
    state: EngineState, queue: Queue, window: DeduplicationWindow, scope: str, message: Message
) -> None:
    now_ms = message.enqueued_at_ms
    deduplication_id = message.deduplication_id or ""
    original = window.remember(
        scope, deduplication_id, message.sequence, message.message_id, now_ms
    )
    state.changes.deduplications.append(
        (
            message.sequence,
            queue.number,
            scope,
            deduplication_id,
            message.message_id,
            original.expires_at_ms,
        )
    )
    state.changes.forgotten_deduplications = max(
        state.changes.forgotten_deduplications, window.forget_expired(now_ms)
    )
