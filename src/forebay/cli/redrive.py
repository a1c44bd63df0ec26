"""`forebay redrive`: move the messages of a dead-letter queue back, or on."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from forebay.cli.connection import (
    Aws,
    Connection,
    EndpointUrl,
    Json,
    Region,
    choose_place,
    queue_names,
    short_name,
)
from forebay.cli.rejected_copies import move_rejected_copies
from forebay.errors import ForebayError
from forebay.protocol.actions import (
    CancelMessageMoveTaskRequest,
    ListMessageMoveTasksRequest,
    ListMessageMoveTasksResultEntry,
    StartMessageMoveTaskRequest,
)
from forebay.protocol.errors import RESOURCE_NOT_FOUND, UNSUPPORTED_OPERATION, SqsError
from forebay.protocol.limits import MOVE_TASK_MESSAGES_PER_SECOND_MAX
from forebay.stop_signals import INTERRUPTED

#: Time between two looks at a running task, in seconds.
_LOOK_S = 0.5

#: Why a task fails at a message that SQS did not move to the dead-letter queue itself.
_NO_SOURCE = "CouldNotDetermineMessageSource"

#: The states of a task that goes on. Source: API ListMessageMoveTasks.
_GOING_ON = ("RUNNING", "CANCELLING")


class RedriveFailed(ForebayError):
    """The move task failed."""


def redrive(
    queue: Annotated[
        str,
        typer.Argument(
            metavar="DLQ",
            help="The dead-letter queue's name, URL or ARN.",
            autocompletion=queue_names,
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="QUEUE",
            help="Where the messages go: a queue's name, URL or ARN. Without it each goes back to"
            " the queue that it came from.",
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOVE_TASK_MESSAGES_PER_SECOND_MAX,
            metavar="N",
            help="Most messages a second. Without it SQS chooses.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until it is done, or only start it.")
    ] = True,
    as_json: Json = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Move the messages of a dead-letter queue back to where they came from.

    At most 50 a second, while a bar shows how far it is:

        forebay redrive orders-dlq --rate 50

    Copies that a worker's Reject put there go back as well, without what
    says why. Ctrl-C cancels the task: what was moved stays moved, and the
    rest stays in the dead-letter queue.
    """
    with (
        Connection(choose_place(endpoint_url, aws, region, queue)) as sqs,
        sqs.queue(queue) as url,
    ):
        source_arn = sqs.attributes(url, "QueueArn")["QueueArn"]
        destination_arn = None
        if to is not None:
            with sqs.queue(to) as destination_url:
                destination_arn = sqs.attributes(destination_url, "QueueArn")["QueueArn"]
        request = StartMessageMoveTaskRequest(
            source_arn=source_arn,
            destination_arn=destination_arn,
            max_number_of_messages_per_second=rate,
        )
        console = Console(soft_wrap=True, highlight=False)
        where = "where they came from" if to is None else short_name(to)
        if not wait:
            started = sqs.run(sqs.client.start_message_move_task(request))
            if as_json:
                typer.echo(msgspec.json.encode(started).decode())
            else:
                console.print(f"Moving the messages of {short_name(url)} to {where}.", markup=False)
            return
        moved, task = _move(sqs, url, request)
    _report(console, task, moved, where, as_json=as_json)


def _move(
    sqs: Connection, url: str, request: StartMessageMoveTaskRequest
) -> tuple[int, ListMessageMoveTasksResultEntry]:
    """Move the messages. Answers how many were moved before the last task, and that task.

    A task that fails at the copy of a rejected message is started again after the copies were
    moved. Ctrl-C cancels it.
    """
    moved = 0
    while True:
        handle = sqs.run(sqs.client.start_message_move_task(request)).task_handle
        try:
            task = _follow(sqs, request.source_arn)
            if request.destination_arn is not None or task.failure_reason != _NO_SOURCE:
                return moved, task
            moved_before = moved
            rate = request.max_number_of_messages_per_second
            for _ in move_rejected_copies(sqs, url, request.source_arn, rate):
                moved += 1
        except KeyboardInterrupt:
            _cancel(sqs, handle)
            task = _latest(sqs, request.source_arn)
            task.status = "CANCELLED" if task.status == "FAILED" else task.status
            return moved, task
        if moved == moved_before:
            return moved, task
        moved += _numbers(task)[0]


def _follow(sqs: Connection, source_arn: str) -> ListMessageMoveTasksResultEntry:
    """Draw a bar until the task is over."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("moved"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)
        while True:
            task = _latest(sqs, source_arn)
            moved, found = _numbers(task)
            # What arrives in the queue while the task runs is moved too.
            progress.update(bar, completed=moved, total=max(moved, found))
            if task.status not in _GOING_ON:
                return task
            sqs.sleep(_LOOK_S)


def _latest(sqs: Connection, source_arn: str) -> ListMessageMoveTasksResultEntry:
    """The task that was started last. A queue has one at a time, and only that has a handle."""
    request = ListMessageMoveTasksRequest(source_arn=source_arn, max_results=1)
    tasks = sqs.run(sqs.client.list_message_move_tasks(request)).results
    if not tasks:
        raise RedriveFailed(f"SQS does not show the task that moves {short_name(source_arn)}.")
    return tasks[0]


def _cancel(sqs: Connection, handle: str) -> None:
    """Cancel the task; one that has just ended stays as it ended."""
    try:
        sqs.run(
            sqs.client.cancel_message_move_task(CancelMessageMoveTaskRequest(task_handle=handle))
        )
    except SqsError as error:
        if error.fault not in (UNSUPPORTED_OPERATION, RESOURCE_NOT_FOUND):
            raise


def _report(
    console: Console,
    task: ListMessageMoveTasksResultEntry,
    moved_before: int,
    where: str,
    *,
    as_json: bool,
) -> None:
    """Say how it ended, and in the exit code. Raises RedriveFailed when the task failed."""
    moved, found = (moved_before + number for number in _numbers(task))
    if as_json:
        whole = replace(
            task,
            approximate_number_of_messages_moved=moved,
            approximate_number_of_messages_to_move=found,
        )
        typer.echo(msgspec.json.encode(whole).decode())
    if task.status == "FAILED":
        raise RedriveFailed(
            f"The task failed after {moved:,} of {found:,} messages:"
            f" {task.failure_reason or 'SQS does not say why'}. What was not moved is still in"
            f" {short_name(task.source_arn)}; name another queue with --to."
        )
    completed = task.status == "COMPLETED"
    if not as_json:
        console.print(
            f"Moved {moved:,} messages to {where}."
            if completed
            else f"Cancelled. {moved:,} of {found:,} messages were moved to {where}; the rest is"
            f" still in {short_name(task.source_arn)}.",
            markup=False,
        )
    if completed:
        return
    raise typer.Exit(INTERRUPTED)


def _numbers(task: ListMessageMoveTasksResultEntry) -> tuple[int, int]:
    """How many messages the task has moved, and how many it found."""
    return (
        task.approximate_number_of_messages_moved or 0,
        task.approximate_number_of_messages_to_move or 0,
    )
