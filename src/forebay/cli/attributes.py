"""`forebay attributes`: show the attributes of a queue, and set them."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli.assignments import read_assignments
from forebay.cli.connection import (
    Aws,
    Connection,
    EndpointUrl,
    Json,
    QueueName,
    Region,
    choose_place,
    print_pairs,
)
from forebay.protocol.actions import SetQueueAttributesRequest


def attributes(
    queue: QueueName,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME[=VALUE]]...",
            help="Attributes in SQS's words: NAME=VALUE sets one, NAME shows it.",
        ),
    ] = None,
    as_json: Json = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Show the attributes of a queue, or set some.

    All of them, and then a longer visibility timeout:

        forebay attributes orders

        forebay attributes orders VisibilityTimeout=120

    An empty value takes an attribute away: forebay attributes orders
    RedrivePolicy= leaves the queue without a dead-letter queue.
    """
    shown = [name for name in names or () if "=" not in name]
    assigned = read_assignments("The attribute", (text for text in names or () if "=" in text))
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        if assigned:
            request = SetQueueAttributesRequest(queue_url=url, attributes=assigned)
            sqs.run(sqs.client.set_queue_attributes(request))
        if assigned and not shown:
            shown = list(assigned)
        print_pairs(sqs.attributes(url, *shown), as_json)
