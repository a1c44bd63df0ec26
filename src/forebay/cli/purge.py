"""`forebay purge`: delete every message of a queue."""

from __future__ import annotations

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
    Yes,
    choose_place,
    short_name,
)
from forebay.protocol.actions import PurgeQueueRequest


def purge(
    queue: QueueName,
    yes: Yes = False,
    as_json: Json = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Delete every message of a queue: visible, delayed and in flight.

    It asks first, unless told not to:

        forebay purge orders-dlq --yes

    There is no way back. SQS allows one purge of a queue in 60 seconds.
    """
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        count = sqs.count(url)
        what = f"{count:,} {'message' if count == 1 else 'messages'} of {short_name(url)}"
        sqs.confirm(what, yes)
        sqs.run(sqs.client.purge_queue(PurgeQueueRequest(queue_url=url)))
    if as_json:
        typer.echo(msgspec.json.encode({"QueueUrl": url, "Messages": count}).decode())
    else:
        Console(soft_wrap=True, highlight=False).print(f"Deleted {what}.", markup=False)
