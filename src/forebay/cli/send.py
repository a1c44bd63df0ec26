"""`forebay send`: send one message, the same one many times, or one for each line."""

from __future__ import annotations

import asyncio
import sys
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forebay.cli.connection import (
    Aws,
    Connection,
    EndpointUrl,
    QueueName,
    Region,
    choose_place,
    short_name,
)
from forebay.client.base import SqsClient
from forebay.errors import ForebayError, SettingsError
from forebay.protocol.actions import (
    BatchResultErrorEntry,
    MessageAttributes,
    MessageAttributeValue,
    SendMessageBatchRequest,
    SendMessageBatchRequestEntry,
    SendMessageBatchResult,
    SendMessageBatchResultEntry,
)
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.protocol.limits import BATCH_ENTRIES_MAX, DELAY_SECONDS_MAX, MESSAGE_BYTES_MAX

#: Batches under way at once. A FIFO queue gets one after the other, which keeps the order.
_BATCHES_AT_ONCE = 8


class NotSent(ForebayError):
    """SQS refused messages."""


def send(
    queue: QueueName,
    body: Annotated[
        str | None, typer.Argument(metavar="BODY", help="The message; - reads it from stdin.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Send what is in a file instead."
        ),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Send each line of stdin or FILE as a message.")
    ] = False,
    count: Annotated[
        int, typer.Option(min=1, metavar="N", help="Send the message this many times.")
    ] = 1,
    group: Annotated[
        str | None, typer.Option(metavar="ID", help="The message group; a FIFO queue needs one.")
    ] = None,
    deduplication_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="For a FIFO queue. Of many messages the first gets ID-1, the second ID-2 …",
        ),
    ] = None,
    delay: Annotated[
        int | None,
        typer.Option(
            min=0, max=DELAY_SECONDS_MAX, metavar="S", help="Seconds before it can be received."
        ),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A message attribute, more than once if need be. NAME:Number=5 and"
            " NAME:Binary=BASE64 are of another type than String.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON object a message, as SQS answers it."),
    ] = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Send a message, or many.

    One, and then one for each line of a file:

        forebay send orders '{"seat": "A-12"}' --attribute source=till-3

        forebay send orders --lines < orders.jsonl

    The newline that ends a text on stdin is no part of the message, and
    empty lines are skipped.
    """
    attributes = parse_attributes(attribute or ())
    many = lines or count > 1
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        entries = (
            SendMessageBatchRequestEntry(
                id=f"{number}",
                message_body=text,
                delay_seconds=delay,
                message_attributes=attributes or None,
                message_group_id=group,
                message_deduplication_id=(
                    f"{deduplication_id}-{number}"
                    if deduplication_id and many
                    else deduplication_id
                ),
            )
            for number, text in enumerate(_bodies(body, file, lines, count), start=1)
        )
        at_once = 1 if url.endswith(FIFO_SUFFIX) else _BATCHES_AT_ONCE
        total = None if lines else count
        _send_all(sqs, url, batches(entries), at_once, total, as_json=as_json)


def _bodies(body: str | None, file: Path | None, lines: bool, count: int) -> Iterable[str]:
    """The messages that the command line asks for."""
    if body not in (None, "-") and (lines or file is not None):
        raise SettingsError("Name a BODY, or --file or --lines, not both.")
    if lines and count > 1:
        raise SettingsError("--lines and --count exclude each other. Leave one out.")
    if lines:
        return _lines(file)
    text = _whole(body, file)
    if not text:
        raise SettingsError("The message is empty, and SQS takes none that is.")
    return repeat(text, count)


def _lines(file: Path | None) -> Iterator[str]:
    with sys.stdin.buffer if file is None else file.open("rb") as source:
        for number, line in enumerate(source, start=1):
            text = _text(line.rstrip(b"\r\n"), f"Line {number}")
            if text:
                yield text


def _whole(body: str | None, file: Path | None) -> str:
    if body is None and file is None and sys.stdin.isatty():
        raise SettingsError("There is nothing to send. Name a BODY, or --file, or pipe it in.")
    if file is not None:
        return _text(file.read_bytes(), f"{file}")
    if body is None or body == "-":
        return _text(sys.stdin.buffer.read(), "The input").removesuffix("\n")
    return body


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{where} is not text in UTF-8, and SQS takes no other. What is no text can be sent in"
            " an attribute: --attribute NAME:Binary=BASE64."
        ) from error


def parse_attributes(texts: Iterable[str]) -> MessageAttributes:
    """Message attributes from `name=value`, `name:Number=5`, `name:Binary=BASE64`.

    Raises SettingsError when one has another form.
    """
    attributes: MessageAttributes = {}
    for text in texts:
        label, equals, value = text.partition("=")
        name, colon, data_type = label.partition(":")
        if not (name and equals):
            raise SettingsError(f"--attribute {text} has no value. Write NAME=VALUE.")
        data_type = data_type if colon else "String"
        if data_type.partition(".")[0] != "Binary":
            attributes[name] = MessageAttributeValue(data_type=data_type, string_value=value)
            continue
        try:
            binary = b64decode(value, validate=True)
        except Base64Error as error:
            raise SettingsError(f"--attribute {text}: the value is not Base64.") from error
        attributes[name] = MessageAttributeValue(data_type=data_type, binary_value=binary)
    return attributes


def batches(
    entries: Iterable[SendMessageBatchRequestEntry], batch_bytes: int = MESSAGE_BYTES_MAX
) -> Iterator[list[SendMessageBatchRequestEntry]]:
    """Entries in batches that SQS takes: ten at most, and no more bytes than a message may have."""
    batch: list[SendMessageBatchRequestEntry] = []
    room_bytes = batch_bytes
    for entry in entries:
        size_bytes = _size_bytes(entry)
        if batch and (len(batch) == BATCH_ENTRIES_MAX or size_bytes > room_bytes):
            yield batch
            batch, room_bytes = [], batch_bytes
        batch.append(entry)
        room_bytes -= size_bytes
    if batch:
        yield batch


def _size_bytes(entry: SendMessageBatchRequestEntry) -> int:
    attributes = entry.message_attributes or {}
    return len(entry.message_body.encode()) + sum(
        len(name.encode())
        + len(value.data_type)
        + len((value.string_value or "").encode())
        + len(value.binary_value or b"")
        for name, value in attributes.items()
    )


class _Tally:
    """What became of the messages so far."""

    def __init__(self) -> None:
        self.sent = 0
        self.refused = 0
        self.last_id = ""
        self.first_refusal = ""

    def add(self, result: SendMessageBatchResult) -> None:
        successful, failed = result.successful or [], result.failed or []
        self.sent += len(successful)
        self.refused += len(failed)
        if successful:
            self.last_id = successful[-1].message_id
        if failed and not self.first_refusal:
            self.first_refusal = f"{failed[0].code}: {failed[0].message}"

    def __str__(self) -> str:
        if self.sent == 1:
            return f"1 message, {self.last_id}"
        return f"{self.sent:,} messages"


def _send_all(
    sqs: Connection,
    url: str,
    batches: Iterator[list[SendMessageBatchRequestEntry]],
    at_once: int,
    total: int | None,
    *,
    as_json: bool,
) -> None:
    """Send the batches, `at_once` at a time, and say how many messages SQS has taken.

    Raises NotSent when it refused some.
    """
    tally = _Tally()
    notes = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("sent"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=notes, disable=not notes.is_terminal) as progress:
            bar = progress.add_task("", total=total)
            while wave := list(islice(batches, at_once)):
                results = sqs.run(_send_wave(sqs.client, url, wave, tally))
                if as_json:
                    for result in results:
                        typer.echo(msgspec.json.encode(result).decode())
                progress.update(bar, completed=tally.sent)
    except KeyboardInterrupt:
        notes.print("Interrupted. The messages that were under way may have been sent too.")
        raise
    finally:
        if not as_json:
            typer.echo(f"Sent to {short_name(url)}: {tally}.")
    if tally.refused:
        raise NotSent(f"SQS refused {tally.refused:,} more, the first with {tally.first_refusal}")


async def _send_wave(
    client: SqsClient, url: str, wave: list[list[SendMessageBatchRequestEntry]], tally: _Tally
) -> list[SendMessageBatchResultEntry | BatchResultErrorEntry]:
    """Send batches side by side, and return what SQS says of each message, in order.

    Every batch is done when the first error is raised.
    """

    async def send_one(batch: list[SendMessageBatchRequestEntry]) -> SendMessageBatchResult:
        request = SendMessageBatchRequest(queue_url=url, entries=batch)
        result = await client.send_message_batch(request)
        tally.add(result)
        return result

    said: list[SendMessageBatchResultEntry | BatchResultErrorEntry] = []
    for outcome in await asyncio.gather(*map(send_one, wave), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        said += outcome.successful or ()
        said += outcome.failed or ()
    return sorted(said, key=lambda entry: int(entry.id))
