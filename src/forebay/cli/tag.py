"""`forebay tag`: show, set and remove the tags of a queue."""

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
from forebay.protocol.actions import ListQueueTagsRequest, TagQueueRequest, UntagQueueRequest


def tag(
    queue: QueueName,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Tags to set.")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="A tag to remove, more than once if need be."),
    ] = None,
    as_json: Json = False,
    endpoint_url: EndpointUrl = None,
    aws: Aws = False,
    region: Region = None,
) -> None:
    """Show the tags of a queue, after setting and removing some if asked to.

    One new tag, and one less:

        forebay tag orders team=sale --remove owner
    """
    assigned = read_assignments("The tag", tags or ())
    with Connection(choose_place(endpoint_url, aws, region, queue)) as sqs, sqs.queue(queue) as url:
        if assigned:
            sqs.run(sqs.client.tag_queue(TagQueueRequest(queue_url=url, tags=assigned)))
        if remove:
            sqs.run(sqs.client.untag_queue(UntagQueueRequest(queue_url=url, tag_keys=remove)))
        listed = sqs.run(sqs.client.list_queue_tags(ListQueueTagsRequest(queue_url=url)))
        print_pairs(listed.tags or {}, as_json)
