"""Message move tasks: a dead-letter queue's messages go back, or on, at a rate.

A task moves what is visible in its source, oldest first, in steps of a tenth of a second, until
nothing is visible. A moved message is a new message: it has a new id, enqueue time and retention,
and was never received. Without a destination each message goes to the queue that it came from: the
one that SQS moved it from, or the one that the copy of a rejected message says.

Source: API StartMessageMoveTask, CancelMessageMoveTask and ListMessageMoveTasks; the errors are
answers that AWS gave (tests/core/test_error_texts.py).
"""

from __future__ import annotations

from forebay.broker.core import validation
from forebay.broker.core.changes import MessageExtras, MoveTaskRecord
from forebay.broker.core.message import Event, Message
from forebay.broker.core.queue import Queue
from forebay.broker.core.state import Caller, EngineState
from forebay.protocol import errors, limits
from forebay.protocol.actions import (
    CancelMessageMoveTaskRequest,
    CancelMessageMoveTaskResult,
    ListMessageMoveTasksRequest,
    ListMessageMoveTasksResult,
    ListMessageMoveTasksResultEntry,
    StartMessageMoveTaskRequest,
    StartMessageMoveTaskResult,
)
from forebay.protocol.checksums import md5_of_attributes
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import (
    TaskHandle,
    decode_task_handle,
    encode_task_handle,
    message_id,
    queue_key_from_arn,
)
from forebay.protocol.rejection import rejected_from, without_rejection

#: How long one step of a task takes, in milliseconds.
_STEP_MS = 100

#: How long a task rests while the broker is short of room, in milliseconds.
_PAUSE_MS = 1_000

RUNNING = "RUNNING"
COMPLETED = "COMPLETED"
CANCELLED = "CANCELLED"
FAILED = "FAILED"

#: What AWS answers as FailureReason.
_NO_SOURCE = "CouldNotDetermineMessageSource"
_NO_DESTINATION = "AWS.SimpleQueueService.NonExistentQueue"


def start_message_move_task(
    state: EngineState, request: StartMessageMoveTaskRequest, caller: Caller, now_ms: int
) -> StartMessageMoveTaskResult:
    source = _queue_of_arn(state, caller, "SourceArn", request.source_arn)
    state.settle(source, now_ms)
    if not _is_dead_letter_queue(state, source):
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "Source queue must be configured as a Dead Letter Queue.",
        )
    if request.destination_arn is not None:
        destination = _queue_of_arn(state, caller, "DestinationArn", request.destination_arn)
        _check_destination(source, destination)
    rate = request.max_number_of_messages_per_second
    if rate is not None and not 1 <= rate <= limits.MOVE_TASK_MESSAGES_PER_SECOND_MAX:
        raise validation.invalid(
            "MaxNumberOfMessagesPerSecond",
            rate,
            f"Must be between 1 and {limits.MOVE_TASK_MESSAGES_PER_SECOND_MAX}, if provided.",
        )
    if any(
        task.status == RUNNING and task.source_arn == source.arn
        for task in state.move_tasks.values()
    ):
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "There is already a task running. Only one active task is allowed for a source queue"
            " arn at a given time.",
        )
    task = MoveTaskRecord(
        number=state.take_sequence(),
        task_id=message_id(state.entropy(16)),
        source_arn=source.arn,
        destination_arn=request.destination_arn,
        messages_per_second=rate,
        status=RUNNING,
        moved=0,
        to_move=source.visible_count,
        started_at_ms=now_ms + state.wall_offset_ms,
        begun_ms=now_ms,
        failure_reason=None,
    )
    state.save_move_task(task)
    state.move_task_agenda.add(task.number, now_ms)
    _forget_old_tasks(state, source.arn)
    return StartMessageMoveTaskResult(task_handle=_handle_of(task))


def cancel_message_move_task(
    state: EngineState, request: CancelMessageMoveTaskRequest, caller: Caller, now_ms: int
) -> CancelMessageMoveTaskResult:
    handle = decode_task_handle(request.task_handle)
    if handle is None:
        raise SqsError(errors.INVALID_PARAMETER_VALUE, "Value for parameter TaskHandle is invalid.")
    source = _queue_of_arn(state, caller, "SourceArn", handle.source_arn)
    task = next(
        (task for task in _tasks_of(state, source.arn) if task.task_id == handle.task_id), None
    )
    if task is None:
        raise SqsError(errors.RESOURCE_NOT_FOUND, "Task does not exist.")
    if task.status != RUNNING:
        raise SqsError(errors.UNSUPPORTED_OPERATION, "Only active tasks can be cancelled.")
    _end(state, task, CANCELLED)
    return CancelMessageMoveTaskResult(approximate_number_of_messages_moved=task.moved)


def list_message_move_tasks(
    state: EngineState, request: ListMessageMoveTasksRequest, caller: Caller, now_ms: int
) -> ListMessageMoveTasksResult:
    """The tasks of a source, latest first."""
    source = _queue_of_arn(state, caller, "SourceArn", request.source_arn)
    count = request.max_results if request.max_results is not None else 1
    if not 1 <= count <= limits.MOVE_TASK_RESULTS_MAX:
        raise validation.invalid(
            "MaxResults",
            count,
            f"Must be between 1 and {limits.MOVE_TASK_RESULTS_MAX}, if provided.",
        )
    tasks = sorted(_tasks_of(state, source.arn), key=lambda task: task.number, reverse=True)
    return ListMessageMoveTasksResult(results=[_shown(task) for task in tasks[:count]] or None)


def advance_move_tasks(state: EngineState, now_ms: int) -> None:
    """Do the steps that are due."""
    while (number := state.move_task_agenda.pop_due(now_ms)) is not None:
        _step(state, state.move_tasks[number], now_ms)


def _step(state: EngineState, task: MoveTaskRecord, now_ms: int) -> None:
    source = _find(state, task.source_arn)
    if source is None:
        _end(state, task, FAILED, _NO_DESTINATION)
        return
    state.settle(source, now_ms)
    if state.shortage is not None:
        # Each message would be in the journal twice for a while. Nobody waits for an answer.
        state.move_task_agenda.add(task.number, now_ms + _PAUSE_MS)
        return
    messages, _ = source.select(_allowance(task, now_ms), None, now_ms)
    for message in messages:
        destination, failure = _destination_of(state, task, source, message)
        if destination is None:
            _end(state, task, FAILED, failure)
            return
        _move(state, message, source, destination, now_ms)
        task.moved += 1
    state.ask_for_page(source, now_ms)
    state.reschedule(source)
    if source.has_ready() or source.held.awaits_page:
        state.save_move_task(task)
        state.move_task_agenda.add(task.number, now_ms + _STEP_MS)
    else:
        _end(state, task, COMPLETED)


def _allowance(task: MoveTaskRecord, now_ms: int) -> int:
    """How many messages the task may move now: what its rate has earned it, one step ahead.

    Never more than two steps' worth, so that a pause is not made up for in one burst.
    """
    rate = task.messages_per_second or limits.MOVE_TASK_MESSAGES_PER_SECOND_MAX
    earned = (now_ms - task.begun_ms + _STEP_MS) * rate // 1000
    return min(max(0, earned - task.moved), max(1, 2 * _STEP_MS * rate // 1000))


def _destination_of(
    state: EngineState, task: MoveTaskRecord, source: Queue, message: Message
) -> tuple[Queue | None, str | None]:
    """Where the message goes; without such a queue, why the task fails."""
    arn = task.destination_arn
    if arn is None:
        arn = message.extras.dead_letter_source_arn if message.extras is not None else None
        arn = arn or _rejected_from(state, source, message)
        if arn is None:
            return None, _NO_SOURCE
    destination = _find(state, arn)
    return destination, None if destination is not None else _NO_DESTINATION


def _rejected_from(state: EngineState, source: Queue, message: Message) -> str | None:
    """The ARN that the copy of a rejected message names, if this is that queue's dead-letter queue.

    AWS knows nothing of such copies, and `forebay redrive` moves them there.
    """
    arn = rejected_from(message.attributes)
    queue = _find(state, arn) if arn is not None else None
    policy = queue.settings.redrive_policy if queue is not None else None
    return arn if policy is not None and policy.target == source.key else None


def _move(
    state: EngineState, message: Message, source: Queue, destination: Queue, now_ms: int
) -> None:
    source.remove(message, Event.MOVED, now_ms)
    state.forget_message(message)
    extras = message.extras or MessageExtras()
    attributes, attributes_md5 = extras.attributes, message.attributes_md5
    if attributes is not None and rejected_from(attributes) == destination.arn:
        attributes = without_rejection(attributes) or None
        attributes_md5 = md5_of_attributes(attributes) if attributes is not None else None
    kept = MessageExtras(attributes, extras.trace_header)
    moved = Message(
        sequence=state.take_sequence(),
        message_id=message_id(state.entropy(16)),
        body=message.body,
        body_md5=message.body_md5,
        enqueued_at_ms=now_ms,
        available_at_ms=now_ms,
        sent_at_ms=now_ms + state.wall_offset_ms,
        sender_id=message.sender_id,
        group_id=message.group_id,
        deduplication_id=message.deduplication_id,
        extras=kept if kept != MessageExtras() else None,
        attributes_md5=attributes_md5,
    )
    destination.add(moved, now_ms)
    state.save_message(destination, moved)
    state.readable[destination.number] = None
    state.reschedule(destination)


def _end(
    state: EngineState, task: MoveTaskRecord, status: str, failure_reason: str | None = None
) -> None:
    task.status = status
    task.failure_reason = failure_reason
    state.move_task_agenda.discard(task.number)
    state.save_move_task(task)


def _forget_old_tasks(state: EngineState, source_arn: str) -> None:
    """Keep as many tasks of a source as can be listed."""
    tasks = sorted(_tasks_of(state, source_arn), key=lambda task: task.number)
    for task in tasks[: -limits.MOVE_TASK_RESULTS_MAX]:
        state.forget_move_task(task)


def _tasks_of(state: EngineState, source_arn: str) -> list[MoveTaskRecord]:
    return [task for task in state.move_tasks.values() if task.source_arn == source_arn]


def _shown(task: MoveTaskRecord) -> ListMessageMoveTasksResultEntry:
    return ListMessageMoveTasksResultEntry(
        task_handle=_handle_of(task) if task.status == RUNNING else None,
        status=task.status,
        source_arn=task.source_arn,
        destination_arn=task.destination_arn,
        max_number_of_messages_per_second=task.messages_per_second,
        approximate_number_of_messages_moved=task.moved,
        approximate_number_of_messages_to_move=task.to_move,
        failure_reason=task.failure_reason,
        started_timestamp=task.started_at_ms,
    )


def _handle_of(task: MoveTaskRecord) -> str:
    return encode_task_handle(TaskHandle(task.task_id, task.source_arn))


def _find(state: EngineState, arn: str) -> Queue | None:
    key = queue_key_from_arn(arn)
    return state.queues.get(key) if key is not None else None


def _queue_of_arn(state: EngineState, caller: Caller, parameter: str, arn: str) -> Queue:
    queue = _find(state, arn)
    if queue is None or queue.key.region != caller.region:
        raise SqsError(
            errors.RESOURCE_NOT_FOUND,
            f"The resource that you specified for the {parameter} parameter doesn't exist.",
        )
    return queue


def _is_dead_letter_queue(state: EngineState, queue: Queue) -> bool:
    return any(True for _ in state.dead_letter_sources(queue))


def _check_destination(source: Queue, destination: Queue) -> None:
    if destination is source:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "Source queue arn and destination queue arn cannot be the same.",
        )
    if destination.settings.fifo != source.settings.fifo:
        raise SqsError(
            errors.INVALID_PARAMETER_VALUE,
            "Source queue and destination queue must be of the same type.",
        )
