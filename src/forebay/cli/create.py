"""`forebay create`: create a queue, and its dead-letter queue with it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.console import Console

from forebay.cli.assignments import read_assignments
from forebay.cli.connection import Aws, Connection, EndpointUrl, Json, Region, choose_place
from forebay.client.plain import MAX_RECEIVE_COUNT, create_queue_request
from forebay.errors import SettingsError
from forebay.protocol.actions import CreateQueueResult, ListQueuesRequest
from forebay.protocol.identifiers import FIFO_SUFFIX, is_queue_name
from forebay.protocol.limits import (
    MAX_RECEIVE_COUNT_MAX,
    MESSAGE_RETENTION_SECONDS_MAX,
    QUEUE_NAME_CHARACTERS_MAX,
)


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new queue's name.")],
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            "-a",
            metavar="NAME=VALUE",
            help="An attribute in SQS's words, more than once if need be.",
        ),
    ] = None,
    fifo: Annotated[
        bool, typer.Option("--fifo", help=f"A FIFO queue. Its name ends in {FIFO_SUFFIX}.")
    ] = False,
    dlq: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The dead-letter queue, which is created unless it is there."
        ),
    ] = None,
    max_receive_count: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_RECEIVE_COUNT_MAX,
            metavar="N",
            help="Receives after which a message goes to the dead-letter queue.",
        ),
    ] = MAX_RECEIVE_COUNT,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A tag, more than once if need be."),
    ] = None,
    as_json: Json = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Create a queue.

    With attributes and a dead-letter queue:

        forebay create orders -a VisibilityTimeout=60 --dlq orders-dlq

    A FIFO queue, whose name then is seats.fifo:

        forebay create seats --fifo -a ContentBasedDeduplication=true

    A queue that is there with the same attributes and tags stays as it is.
    """
    fifo = fifo or name.endswith(FIFO_SUFFIX)
    attributes = read_assignments("--attribute", attribute or ())
    tags = read_assignments("--tag", tag or ())
    if dlq is not None and "RedrivePolicy" in attributes:
        raise SettingsError(
            "--dlq and the attribute RedrivePolicy exclude each other. Leave one out."
        )
    name = _full_name(name, fifo)
    console = Console(soft_wrap=True, highlight=False)
    with Connection(choose_place(endpoint_url, aws, region)) as sqs:
        dead_letter_arn = None
        if dlq is not None:
            dead_url, dead_is_new = _dead_letter_queue(sqs, _full_name(dlq, fifo))
            dead_letter_arn = sqs.attributes(dead_url, "QueueArn")["QueueArn"]
            if dead_is_new and not as_json:
                console.print(f"Created {dead_url}", markup=False)
        is_new = _find(sqs, name) is None
        request = create_queue_request(
            name,
            attributes,
            tags=tags,
            dead_letter_arn=dead_letter_arn,
            max_receive_count=max_receive_count,
        )
        url = sqs.run(sqs.client.create_queue(request)).queue_url
        if as_json:
            typer.echo(msgspec.json.encode(CreateQueueResult(queue_url=url)).decode())
        else:
            console.print(f"{'Created' if is_new else 'There already:'} {url}", markup=False)


def _full_name(name: str, fifo: bool) -> str:
    """The name, with the suffix of a FIFO queue. Raises SettingsError when it can be none."""
    full = name if not fifo or name.endswith(FIFO_SUFFIX) else name + FIFO_SUFFIX
    if not is_queue_name(full):
        raise SettingsError(
            f"{name} cannot be the name of a queue: it has letters, digits, - and _, at most"
            f" {QUEUE_NAME_CHARACTERS_MAX}. Where it is, --endpoint-url and --region say."
        )
    return full


def _dead_letter_queue(sqs: Connection, name: str) -> tuple[str, bool]:
    """The URL of a dead-letter queue, and whether it had to be created.

    A message brings its age along, so a new one keeps it for as long as SQS keeps any.
    """
    url = _find(sqs, name)
    if url is not None:
        return url, False
    created = sqs.client.create_queue(name, MessageRetentionPeriod=MESSAGE_RETENTION_SECONDS_MAX)
    return sqs.run(created).queue_url, True


def _find(sqs: Connection, name: str) -> str | None:
    """A queue's URL, unless it is missing. GetQueueUrl would have `--auto-create` make it."""
    listed = sqs.run(sqs.client.list_queues(ListQueuesRequest(queue_name_prefix=name)))
    return next((url for url in listed.queue_urls or () if url.endswith(f"/{name}")), None)
