"""`forebay delete`: delete a queue and what is in it."""

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
from forebay.protocol.actions import DeleteQueueRequest


def delete(
    queue: QueueName,
    yes: Yes = False,
    as_json: Json = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Delete a queue and every message in it.

    It asks first, unless told not to:

        forebay delete orders-dlq --yes

    There is no way back, and SQS keeps the name for 60 seconds.
    """
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        count = sqs.count(url)
        what = f"{short_name(url)} with {count:,} {'message' if count == 1 else 'messages'}"
        sqs.confirm(what, yes)
        sqs.run(sqs.client.delete_queue(DeleteQueueRequest(queue_url=url)))
    if as_json:
        typer.echo(msgspec.json.encode({"QueueUrl": url, "Messages": count}).decode())
    else:
        Console(soft_wrap=True, highlight=False).print(f"Deleted {what}.", markup=False)
