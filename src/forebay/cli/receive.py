"""`forebay receive`: print messages of a queue, and delete them if asked to."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from forebay.cli.connection import (
    Aws,
    Connection,
    EndpointUrl,
    Json,
    QueueName,
    Region,
    choose_place,
    short_name,
)
from forebay.cli.readable import readable_message
from forebay.clock import SystemClock
from forebay.errors import ForebayError, ServiceUnreachable
from forebay.protocol.actions import (
    ChangeMessageVisibilityBatchRequest,
    ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    Message,
    ReceiveMessageRequest,
)
from forebay.protocol.errors import SqsError
from forebay.protocol.limits import (
    BATCH_ENTRIES_MAX,
    VISIBILITY_TIMEOUT_SECONDS_MAX,
    WAIT_TIME_SECONDS_MAX,
)

#: For how long messages are hidden while more are collected, in seconds, when they are to be hidden
#: for less than `_LONG_ENOUGH_S`. Otherwise the first would come back before the last are there,
#: and the command would go round in circles. Each round counts as a receive.
_COLLECTING_S = 60
_LONG_ENOUGH_S = 20


class NotDeleted(ForebayError):
    """Some messages were printed and could not be deleted; they will be received again."""


def receive(
    queue: QueueName,
    count: Annotated[int, typer.Option("--max", min=1, metavar="N", help="Most messages.")] = 1,
    wait: Annotated[
        int,
        typer.Option(
            min=0, max=WAIT_TIME_SECONDS_MAX, metavar="S", help="Seconds to wait for a message."
        ),
    ] = 1,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete each message after it was printed.")
    ] = False,
    visibility: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=VISIBILITY_TIMEOUT_SECONDS_MAX,
            metavar="S",
            help="Seconds for which other receivers do not see the messages.",
            show_default="what the queue says",
        ),
    ] = None,
    as_json: Json = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Receive messages and print them.

    Up to ten, which then are out of the queue:

        forebay receive orders --max 10 --delete

    Without --delete a message comes back when its visibility timeout ends.
    The receive counts, as any other: after as many as the queue's redrive
    policy allows, the message goes to the dead-letter queue. Each message is
    received once, however short its visibility timeout is. To look without
    receiving:

        forebay peek orders
    """
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        comes_back_s = visibility
        if comes_back_s is None:
            comes_back_s = int(sqs.attributes(url, "VisibilityTimeout")["VisibilityTimeout"])
        long_enough = comes_back_s >= _LONG_ENOUGH_S or (count == 1 and not delete)
        hidden_s = comes_back_s if long_enough else _COLLECTING_S
        handles: list[str] = []
        try:
            received = _collect(sqs, url, count, wait, hidden_s, delete, as_json, handles)
        finally:
            if hidden_s != comes_back_s and not _hide(sqs, url, handles, comes_back_s):
                comes_back_s = hidden_s
        if not received:
            notes.print(f"No message of {short_name(url)} is visible now.", markup=False)
        elif not delete:
            notes.print(_fate(received, comes_back_s), style="dim", markup=False)


def _collect(
    sqs: Connection,
    url: str,
    count: int,
    wait_s: int,
    hidden_s: int,
    delete: bool,
    as_json: bool,
    handles: list[str],
) -> int:
    """Print messages, each once, and say how many; put the handles of what is kept in `handles`.

    It ends when there are no more or enough, when one comes round again, and before the first that
    is kept would come back.
    """
    out = Console(highlight=False, soft_wrap=True)
    clock = SystemClock()
    stop_at_ms = clock.monotonic_ms() + (wait_s + hidden_s / 2) * 1000
    seen: set[str] = set()
    while len(seen) < count and (delete or not seen or clock.monotonic_ms() < stop_at_ms):
        request = ReceiveMessageRequest(
            queue_url=url,
            message_system_attribute_names=["All"],
            message_attribute_names=["All"],
            max_number_of_messages=min(count - len(seen), BATCH_ENTRIES_MAX),
            visibility_timeout=hidden_s,
            # Only the first receive waits for somebody to send; the others take what is there.
            wait_time_seconds=0 if seen else wait_s,
        )
        messages = sqs.run(sqs.client.receive_message(request)).messages or []
        handles += (message.receipt_handle for message in messages)
        for message in messages:
            if message.message_id in seen:
                continue
            if as_json:
                typer.echo(msgspec.json.encode(message).decode())
            else:
                out.print(readable_message(message))
        sys.stdout.flush()
        if delete and messages:
            _delete(sqs, url, messages)
            handles.clear()
        known = len(seen)
        seen.update(message.message_id for message in messages)
        if len(seen) < known + max(len(messages), 1):
            break
    return len(seen)


def _hide(sqs: Connection, url: str, handles: list[str], duration_s: int) -> bool:
    """Let the messages come back in so many seconds from now. Answers whether that was done."""
    done = True
    for first in range(0, len(handles), BATCH_ENTRIES_MAX):
        entries = [
            ChangeMessageVisibilityBatchRequestEntry(
                id=f"{number}", receipt_handle=handle, visibility_timeout=duration_s
            )
            for number, handle in enumerate(handles[first : first + BATCH_ENTRIES_MAX])
        ]
        request = ChangeMessageVisibilityBatchRequest(queue_url=url, entries=entries)
        try:
            done &= not sqs.run(sqs.client.change_message_visibility_batch(request)).failed
        except (SqsError, ServiceUnreachable):
            return False
    return done


def _delete(sqs: Connection, url: str, messages: list[Message]) -> None:
    entries = [
        DeleteMessageBatchRequestEntry(id=f"{number}", receipt_handle=message.receipt_handle)
        for number, message in enumerate(messages)
    ]
    request = DeleteMessageBatchRequest(queue_url=url, entries=entries)
    failed = sqs.run(sqs.client.delete_message_batch(request)).failed
    if failed:
        raise NotDeleted(
            f"{len(failed):,} messages were printed and not deleted: {failed[0].code}:"
            f" {failed[0].message}. They will be received again."
        )


def _fate(received: int, hidden_s: int) -> str:
    """What becomes of messages that were received and not deleted."""
    what = "It comes" if received == 1 else "They come"
    when = f"in {hidden_s:,} s" if hidden_s else "at once"
    return f"Not deleted. {what} back {when}; --delete deletes what it prints."
