"""`forebay peek`: look at messages without receiving them."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

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
from forebay.cli.own_pages import OwnPages
from forebay.cli.readable import readable, readable_heading
from forebay.errors import ForebayError
from forebay.protocol.awsjson import decode_error

#: Where the broker shows messages, and how many at most.
_PATH = "/_forebay/messages"
_MESSAGES_MAX = 1_000


class NotShown(ForebayError):
    """This SQS shows messages only to who receives them."""


class _Message(Struct, omit_defaults=True):
    """A message as the broker shows it."""

    message_id: str
    body: str
    state: str
    receive_count: int
    sent_at_ms: int
    visible_in_s: float | None = None
    message_group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    dead_letter_source_arn: str | None = None


class _Page(Struct):
    messages: list[_Message]


def peek(
    queue: QueueName,
    count: Annotated[
        int, typer.Option("--max", min=1, max=_MESSAGES_MAX, metavar="N", help="Most messages.")
    ] = 10,
    as_json: Json = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Look at the oldest messages of a queue without receiving them.

    Whatever their state, and nothing about them changes:

        forebay peek orders-dlq --max 3

    Only the broker shows its messages so. On AWS who looks has to receive,
    which counts and hides the messages for a while.
    """
    out = Console(highlight=False, soft_wrap=True)
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        messages = _look(sqs, url, count)
        for message in messages:
            if as_json:
                typer.echo(msgspec.json.encode(message).decode())
            else:
                out.print(_shown(message))
        if not messages:
            notes = Console(stderr=True, highlight=False, soft_wrap=True)
            notes.print(f"{short_name(url)} holds no messages.", markup=False)


def _look(sqs: Connection, url: str, count: int) -> list[_Message]:
    """The messages. Raises NotShown where they are not shown, and SqsError."""
    pages = OwnPages(sqs.place.endpoint_url, sqs.place.region)
    page = None
    if pages.possible:
        page = sqs.run(pages.read(_PATH, QueueUrl=url, MaxResults=f"{count}"))
    if page is not None and page.status == 200:
        try:
            return msgspec.json.decode(page.body, type=_Page).messages
        except msgspec.DecodeError:
            page = None
    if page is not None and page.status in {400, 403, 503}:
        raise decode_error(page.status, None, page.body)
    raise NotShown(
        f"{sqs.place} shows messages only to who receives them, which counts as a receive. To do"
        f" that: forebay receive {short_name(url)} --max {count} --visibility 0"
    )


def _shown(message: _Message) -> Text:
    state = message.state.lower().replace("_", " ")
    if message.visible_in_s is not None:
        state = f"{state}, visible in {max(message.visible_in_s, 0):,.0f} s"
    heading = readable_heading(
        message.message_id,
        sent_at_ms=message.sent_at_ms,
        receive_count=message.receive_count,
        state=state,
        group_id=message.message_group_id,
        source_arn=message.dead_letter_source_arn,
    )
    return readable(heading, (), message.body)
