"""`forebay purge`: delete every message of a queue."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from forebay.cli.connection import (
    Aws,
    Connection,
    EndpointUrl,
    QueueName,
    Region,
    choose_place,
    short_name,
)
from forebay.errors import SettingsError
from forebay.protocol.actions import PurgeQueueRequest

#: What tells how many messages a queue holds.
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def purge(
    queue: QueueName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Delete every message of a queue: visible, delayed and in flight.

    It asks first, unless told not to:

        forebay purge orders-dlq --yes

    There is no way back. SQS allows one purge of a queue in 60 seconds.
    """
    console = Console(soft_wrap=True, highlight=False)
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        attributes = sqs.attributes(url, *_COUNTS)
        count = sum(int(attributes.get(name, 0)) for name in _COUNTS)
        what = f"{count:,} {'message' if count == 1 else 'messages'} of {short_name(url)}"
        if not yes:
            if not sys.stdin.isatty():
                raise SettingsError(
                    f"This would delete {what} at {sqs.place}. Say --yes if it should."
                )
            typer.confirm(f"Delete {what} at {sqs.place}?", abort=True)
        sqs.run(sqs.client.purge_queue(PurgeQueueRequest(queue_url=url)))
    console.print(f"Deleted {what}.", markup=False)
