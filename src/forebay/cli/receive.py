"""`forebay receive`: print messages of a queue, and delete them if asked to."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.text import Text

from forebay.cli.connection import (
    Aws,
    Connection,
    EndpointUrl,
    QueueName,
    Region,
    choose_place,
    short_name,
)
from forebay.errors import ForebayError
from forebay.protocol.actions import (
    DeleteMessageBatchRequest,
    DeleteMessageBatchRequestEntry,
    Message,
    MessageAttributeValue,
    ReceiveMessageRequest,
)
from forebay.protocol.limits import (
    BATCH_ENTRIES_MAX,
    VISIBILITY_TIMEOUT_SECONDS_MAX,
    WAIT_TIME_SECONDS_MAX,
)


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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, as SQS answers it.")
    ] = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Receive messages and print them.

    Up to ten, which then are out of the queue:

        forebay receive orders --max 10 --delete

    Without --delete a message comes back when its visibility timeout ends.
    The receive counts, as any other: after as many as the queue's redrive
    policy allows, the message goes to the dead-letter queue.
    """
    out = Console(highlight=False, soft_wrap=True)
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        received = 0
        while received < count:
            request = ReceiveMessageRequest(
                queue_url=url,
                message_system_attribute_names=["All"],
                message_attribute_names=["All"],
                max_number_of_messages=min(count - received, BATCH_ENTRIES_MAX),
                visibility_timeout=visibility,
                # Only the first receive waits for somebody to send; the others take what is there.
                wait_time_seconds=0 if received else wait,
            )
            messages = sqs.run(sqs.client.receive_message(request)).messages
            if not messages:
                break
            for message in messages:
                if as_json:
                    typer.echo(msgspec.json.encode(message).decode())
                else:
                    out.print(_readable(message))
            sys.stdout.flush()
            if delete:
                _delete(sqs, url, messages)
            received += len(messages)
        if not received:
            notes.print(f"No message of {short_name(url)} is visible now.", markup=False)
        elif not delete:
            hidden_s = visibility
            if hidden_s is None:
                hidden_s = int(sqs.attributes(url, "VisibilityTimeout")["VisibilityTimeout"])
            notes.print(_fate(received, hidden_s), style="dim", markup=False)


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


def _readable(message: Message) -> Text:
    """A message for people: a line about it, its attributes, and its body."""
    lines = [Text(_heading(message), style="bold")]
    for name, attribute in sorted((message.message_attributes or {}).items()):
        lines.append(Text(f"  {name} = {_value(attribute)}", style="cyan"))
    lines += (Text("  ").append_text(line) for line in _body(message.body).split("\n"))
    return Text("\n").join([*lines, Text()])


def _heading(message: Message) -> str:
    attributes = message.attributes or {}
    count = attributes.get("ApproximateReceiveCount", "1")
    parts = [message.message_id]
    if "SentTimestamp" in attributes:
        sent = datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC)
        parts.append(f"sent {sent:%Y-%m-%d %H:%M:%S} UTC")
    parts.append("received once" if count == "1" else f"received {count} times")
    if "MessageGroupId" in attributes:
        parts.append(f"group {attributes['MessageGroupId']}")
    if "DeadLetterQueueSourceArn" in attributes:
        parts.append(f"from {short_name(attributes['DeadLetterQueueSourceArn'])}")
    return ", ".join(parts)


def _value(attribute: MessageAttributeValue) -> str:
    if attribute.binary_value is not None:
        return f"{len(attribute.binary_value):,} bytes"
    return attribute.string_value or ""


def _body(body: str) -> Text:
    """The body, laid out when it is a JSON object or list and as it is otherwise."""
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return Text(body)
    if not isinstance(decoded, dict | list):
        return Text(body)
    return JSONHighlighter()(msgspec.json.format(body, indent=2))
