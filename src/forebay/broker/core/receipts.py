"""What a receipt handle is good for: DeleteMessage and ChangeMessageVisibility, and their batches.

Source: API DeleteMessage and ChangeMessageVisibility.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from forebay.broker.core import validation
from forebay.broker.core.batch import failed_entry
from forebay.broker.core.message import Event, Message, State
from forebay.broker.core.queue import Queue
from forebay.broker.core.state import Caller, EngineState
from forebay.protocol import errors
from forebay.protocol.actions import (
    BatchResult,
    BatchResultEntry,
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    ChangeMessageVisibilityRequest,
    DeleteMessageBatchRequest,
    DeleteMessageRequest,
    EmptyResult,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import ReceiptHandle, decode_receipt_handle, message_tag
from forebay.protocol.limits import VISIBILITY_TIMEOUT_SECONDS_MAX


class _Entry(Protocol):
    @property
    def id(self) -> str: ...


EntryT = TypeVar("EntryT", bound=_Entry)

_CHANGE_ENTRY_NAME = "ChangeMessageVisibilityBatchRequestEntry"

_EXPIRED = "The receipt handle has expired."
_GONE = "Message does not exist or is not available for visibility timeout change."


def delete_message(
    state: EngineState, request: DeleteMessageRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    _delete(state, queue, request.receipt_handle, now_ms)
    _after_deletes(state, queue)
    return EmptyResult()


def delete_message_batch(
    state: EngineState, request: DeleteMessageBatchRequest, caller: Caller, now_ms: int
) -> BatchResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    validation.check_batch(request.entries, "DeleteMessageBatchRequestEntry")
    result = _each(
        request.entries, lambda entry: _delete(state, queue, entry.receipt_handle, now_ms)
    )
    _after_deletes(state, queue)
    return result


def change_message_visibility(
    state: EngineState, request: ChangeMessageVisibilityRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    _change(state, queue, request.receipt_handle, request.visibility_timeout, now_ms)
    return EmptyResult()


def change_message_visibility_batch(
    state: EngineState,
    request: ChangeMessageVisibilityBatchRequest,
    caller: Caller,
    now_ms: int,
) -> BatchResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    validation.check_batch(request.entries, _CHANGE_ENTRY_NAME)
    numbers = {entry.id: number for number, entry in enumerate(request.entries, 1)}

    def change(entry: ChangeMessageVisibilityBatchRequestEntry) -> None:
        if entry.visibility_timeout is None:
            raise validation.missing(f"{_CHANGE_ENTRY_NAME}.{numbers[entry.id]}.VisibilityTimeout")
        _change(state, queue, entry.receipt_handle, entry.visibility_timeout, now_ms)

    return _each(request.entries, change)


def _each(entries: Sequence[EntryT], act: Callable[[EntryT], None]) -> BatchResult:
    """Act on every entry of a batch; one that fails does not stop the others."""
    result = BatchResult()
    for entry in entries:
        try:
            act(entry)
        except SqsError as error:
            result.failed = result.failed or []
            result.failed.append(failed_entry(entry.id, error))
        else:
            result.successful = result.successful or []
            result.successful.append(BatchResultEntry(id=entry.id))
    return result


def _find(queue: Queue, text: str) -> tuple[ReceiptHandle, Message | None]:
    """What the handle says and its message, None when that is gone.

    Raises SqsError: MissingParameter for no handle, ReceiptHandleIsInvalid for one that this queue
    never gave out.
    """
    if not text:
        raise validation.missing("ReceiptHandle")
    handle = decode_receipt_handle(text)
    if handle is None:
        raise _not_a_handle(text)
    if handle.queue_number != queue.number:
        raise SqsError(
            errors.RECEIPT_HANDLE_IS_INVALID,
            f'The receipt handle "{text}" is not valid for this queue.',
        )
    message = queue.messages.get(handle.sequence)
    if message is not None and message_tag(message.message_id) != handle.message_tag:
        raise _not_a_handle(text)
    return handle, message


def _not_a_handle(text: str) -> SqsError:
    return SqsError(
        errors.RECEIPT_HANDLE_IS_INVALID,
        f'The input receipt handle "{text}" is not a valid receipt handle.',
    )


def _of_no_use(text: str, reason: str) -> SqsError:
    """The error for a handle that was good once."""
    return validation.invalid(
        "ReceiptHandle", text, reason, in_batch=errors.RECEIPT_HANDLE_IS_INVALID
    )


def _is_current(message: Message, handle: ReceiptHandle) -> bool:
    return message.state is State.IN_FLIGHT and message.receive_count == handle.receive_count


def _delete(state: EngineState, queue: Queue, text: str, now_ms: int) -> None:
    """Delete a message. One that is gone already counts as deleted.

    On a standard queue the handle of any receive will do; on a FIFO queue only that of the latest
    receive, and only until its visibility timeout ends.
    """
    handle, message = _find(queue, text)
    if message is None:
        return
    if queue.settings.fifo and not _is_current(message, handle):
        raise _of_no_use(text, _EXPIRED)
    queue.remove(message, Event.DELETED, now_ms)
    queue.totals.deleted += 1
    state.forget_message(message)


def _after_deletes(state: EngineState, queue: Queue) -> None:
    """Note that a message group may have been freed, or that there is room for a page."""
    if queue.is_readable():
        state.readable[queue.number] = None


def _change(state: EngineState, queue: Queue, text: str, timeout_s: int, now_ms: int) -> None:
    """Set when a message becomes visible again, from now.

    A message is hidden at most twelve hours in total from the receive that hid it. On a standard
    queue the handle of a receive whose visibility timeout ended changes nothing: the message may be
    somebody else's by now.
    """
    validation.check_visibility_timeout(timeout_s)
    handle, message = _find(queue, text)
    if message is None:
        raise _of_no_use(text, _GONE)
    if not _is_current(message, handle):
        if queue.settings.fifo:
            raise _of_no_use(text, _EXPIRED)
        return
    visible_at_ms = now_ms + timeout_s * 1000
    if visible_at_ms > message.taken_at_ms + VISIBILITY_TIMEOUT_SECONDS_MAX * 1000:
        raise validation.invalid(
            "VisibilityTimeout",
            timeout_s,
            "Total VisibilityTimeout for the message is beyond the limit"
            f" [{VISIBILITY_TIMEOUT_SECONDS_MAX} seconds].",
        )
    if timeout_s == 0:
        queue.release(message, now_ms)
        if queue.is_readable():
            state.readable[queue.number] = None
    else:
        queue.hide(message, now_ms, visible_at_ms)
    state.save_delivery(message, visible_at_ms, None)
    state.reschedule(queue)
