"""`forebay queues`: a table of the queues and what is in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import msgspec
import typer
from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from forebay.cli.ages import Ages, readable_age
from forebay.cli.connection import (
    Aws,
    Connection,
    EndpointUrl,
    Region,
    choose_place,
    short_name,
)
from forebay.cli.tables import console
from forebay.client.base import SqsClient
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import GetQueueAttributesRequest, ListQueuesRequest
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.limits import LIST_RESULTS_MAX

#: Columns that the table takes at least. A terminal that has fewer breaks its lines.
_WIDTH_MIN = 40

#: Queues whose attributes are asked for at once.
_AT_ONCE = 32


class QueueRow(Struct):
    """One queue of the table."""

    name: str
    url: str
    visible: int
    in_flight: int
    delayed: int
    #: None where SQS is not the broker, which alone tells it; 0 for an empty queue.
    oldest_message_age_s: float | None
    #: Names of the queues, among those shown, whose dead letters come here.
    dead_letter_queue_of: list[str]


def queues(
    prefix: Annotated[
        str | None, typer.Argument(help="Show the queues whose name begins with this.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Seconds between two looks of --watch.")
    ] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a list with an object per queue.")
    ] = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Show the queues, and how many messages are visible, in flight and delayed.

    Those whose name begins with "orders":

        forebay queues orders

    The same, refreshed every two seconds until Ctrl-C:

        forebay queues orders --watch --every 2

    On AWS each look costs one request per queue and one for the list.
    """
    out = console()
    out.width = max(out.width, _WIDTH_MIN)
    with Connection(choose_place(endpoint_url, aws, region)) as sqs:
        ages = Ages(sqs.place.endpoint_url, sqs.place.region)

        def shown() -> RenderableType:
            rows = sqs.run(look(sqs.client, ages, prefix))
            if not as_json:
                return _table(rows, sqs, prefix)
            return json.dumps(msgspec.to_builtins(rows), indent=None if watch else 2)

        if not watch:
            _print(out, shown())
        elif out.is_terminal and not as_json:
            with suppress(KeyboardInterrupt):
                _refresh(sqs, shown, out, every)
        else:
            with suppress(KeyboardInterrupt):
                _go_on_printing(sqs, shown, out, every)


def _print(console: Console, shown: RenderableType) -> None:
    """Print a table as the terminal wants it, and JSON as it is."""
    if isinstance(shown, str):
        typer.echo(shown)
    else:
        console.print(shown)


def _refresh(
    sqs: Connection, shown: Callable[[], RenderableType], console: Console, every_s: float
) -> None:
    """Show the table again and again in one place, over an outage too."""
    table: RenderableType = Text("Looking …")
    with Live(table, console=console, auto_refresh=False) as live:
        while True:
            try:
                table = shown()
                live.update(table, refresh=True)
            except ServiceUnreachable as error:
                live.update(Group(table, Text(f"{error}", style="red")), refresh=True)
            sqs.sleep(every_s)


def _go_on_printing(
    sqs: Connection, shown: Callable[[], RenderableType], console: Console, every_s: float
) -> None:
    """Print what there is again and again, one below the other, over an outage too."""
    while True:
        try:
            _print(console, shown())
        except ServiceUnreachable as error:
            typer.echo(f"{error}", err=True)
        sqs.sleep(every_s)


async def look(client: SqsClient, ages: Ages, prefix: str | None) -> list[QueueRow]:
    """The queues as they are now, by name. One that is deleted meanwhile is left out."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def attributes_of(url: str) -> dict[str, str] | None:
        async with room:
            try:
                request = GetQueueAttributesRequest(queue_url=url, attribute_names=["All"])
                return (await client.get_queue_attributes(request)).attributes or {}
            except SqsError as error:
                if error.fault == QUEUE_DOES_NOT_EXIST:
                    return None
                raise

    urls = await _list_urls(client, prefix)
    known, answers = await asyncio.gather(
        ages.ask(), asyncio.gather(*(attributes_of(url) for url in urls))
    )
    return rows_of({url: found for url, found in zip(urls, answers, strict=True) if found}, known)


async def _list_urls(client: SqsClient, prefix: str | None) -> list[str]:
    urls: list[str] = []
    request = ListQueuesRequest(queue_name_prefix=prefix, max_results=LIST_RESULTS_MAX)
    while True:
        page = await client.list_queues(request)
        urls += page.queue_urls or ()
        if page.next_token is None:
            return urls
        request = msgspec.structs.replace(request, next_token=page.next_token)


def rows_of(attributes: dict[str, dict[str, str]], ages_s: dict[str, float]) -> list[QueueRow]:
    """The rows of queues, given the attributes of each by its URL, and the known ages by ARN."""
    sources: dict[str, list[str]] = {}
    for url, found in attributes.items():
        policy = found.get("RedrivePolicy")
        if policy is not None:
            target = json.loads(policy).get("deadLetterTargetArn", "")
            sources.setdefault(target, []).append(short_name(url))

    def row_of(url: str, found: dict[str, str]) -> QueueRow:
        arn = found.get("QueueArn", "")
        return QueueRow(
            name=short_name(url),
            url=url,
            visible=int(found.get("ApproximateNumberOfMessages", 0)),
            in_flight=int(found.get("ApproximateNumberOfMessagesNotVisible", 0)),
            delayed=int(found.get("ApproximateNumberOfMessagesDelayed", 0)),
            oldest_message_age_s=ages_s.get(arn),
            dead_letter_queue_of=sorted(sources.get(arn, ())),
        )

    return sorted((row_of(*item) for item in attributes.items()), key=lambda row: row.name)


def _table(rows: list[QueueRow], sqs: Connection, prefix: str | None) -> RenderableType:
    if not rows:
        which = "no queues" if prefix is None else f"no queue whose name begins with {prefix}"
        return Text(f"{sqs.place} has {which}.")
    total = f"{len(rows):,} {'queue' if len(rows) == 1 else 'queues'}"
    table = Table(
        box=SIMPLE_HEAD,
        caption=Text(f"{total} at {sqs.place}", style="dim"),
        caption_justify="left",
    )
    table.add_column("queue", overflow="fold")
    for heading in ("visible", "in flight", "delayed"):
        table.add_column(heading, justify="right")
    aged = any(row.oldest_message_age_s is not None for row in rows)
    if aged:
        table.add_column("oldest", justify="right")
    table.add_column("dead letters of")
    for row in rows:
        table.add_row(
            row.name,
            *(_count(number) for number in (row.visible, row.in_flight, row.delayed)),
            *([_age(row.oldest_message_age_s)] if aged else []),
            ", ".join(row.dead_letter_queue_of),
            style="red" if row.dead_letter_queue_of and row.visible else None,
        )
    return table


def _age(age_s: float | None) -> str:
    return readable_age(age_s) if age_s else ""


def _count(number: int) -> Text:
    return Text(f"{number:,}", style="" if number else "dim")
