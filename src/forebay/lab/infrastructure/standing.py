"""What `forebay lab up` makes at an SQS and on this machine, and where programs find it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from forebay.broker.bootstrap import DeclaredQueue, Outcome, create_declared
from forebay.client.base import SqsClient
from forebay.client.endpoint import ENDPOINT_VARIABLES, REGION_VARIABLES
from forebay.lab.infrastructure.directory import LabDirectory
from forebay.lab.infrastructure.tables import make_tables, tables_url
from forebay.lab.infrastructure.wanted import HAPPY, WantedQueues, render_queues
from forebay.lab.reading import find_queue
from forebay.protocol.identifiers import DEFAULT_REGION

#: The variables of .env. Source: document 001, and what SDKs find a local SQS by.
DOTENV_VARIABLES = (
    "QUEUE_URL",
    "DLQ_ARN",
    *REGION_VARIABLES,
    "MESSAGE_STATUS_TABLE",
    "MESSAGE_SIDE_EFFECTS_TABLE",
    ENDPOINT_VARIABLES[0],
)


class Made(Struct, frozen=True):
    """What was done, and what is to be in .env."""

    queues: Sequence[Outcome]
    new_tables: int
    variables: dict[str, str]


async def make_all(
    client: SqsClient,
    directory: LabDirectory,
    wanted: Sequence[WantedQueues],
    *,
    endpoint_url: str,
    region: str | None,
) -> Made:
    """Make every queue and table be there as the scenarios need it. What is right stays as it is.

    Raises what the client raises, SettingsError when SQS refuses a queue, and StoreError.
    """
    directory.make()
    directory.queues_file.write_text(render_queues(wanted), encoding="utf-8")
    declared = [queue for each in wanted for queue in each.queues]
    outcomes = await create_declared(client.call, declared)
    new = [make_tables(directory.tables_of(each.scenario)) for each in wanted]
    happy = _main_queue(wanted)
    address = await find_queue(client, "", happy.name, happy.dead_letter_queue)
    tables = tables_url(directory.tables_of(HAPPY))
    values = (
        address.url,
        address.dead_letters_arn or "",
        *(region or DEFAULT_REGION for _ in REGION_VARIABLES),
        tables,
        tables,
        endpoint_url,
    )
    return Made(outcomes, sum(new), dict(zip(DOTENV_VARIABLES, values, strict=True)))


def _main_queue(wanted: Sequence[WantedQueues]) -> DeclaredQueue:
    """The queue that .env names."""
    happy = next(each for each in wanted if each.scenario == HAPPY)
    return next(queue for queue in happy.queues if queue.dead_letter_queue is not None)
