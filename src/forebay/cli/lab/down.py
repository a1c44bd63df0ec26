"""`forebay lab down`: the lab's broker is stopped, and what `forebay lab up` made is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli.lab.places import Data
from forebay.client.endpoint import ENDPOINT_VARIABLES
from forebay.lab.infrastructure.background_broker import (
    last_endpoint_url,
    running_broker,
    stop_broker,
)
from forebay.lab.infrastructure.directory import DEFAULT_DIRECTORY, LabDirectory
from forebay.lab.infrastructure.dotenv import DOTENV
from forebay.lab.infrastructure.own_part import own_part, remove_own_part
from forebay.lab.infrastructure.tables import is_in


def down(
    data: Data = DEFAULT_DIRECTORY,
    keep_data: Annotated[
        bool, typer.Option("--keep-data", help="Keep queues, messages and tables for the next up.")
    ] = False,
) -> None:
    """Stop the lab's broker, and remove its data and what `up` wrote into .env.

    Without a question: messages that are still in the queues go with them.
    To have them again after the next `up`:

        forebay lab down --keep-data

    Queues that `up --endpoint` made at another SQS stay there.
    """
    directory, dotenv = LabDirectory(data), Path(DOTENV)
    said: list[str] = []
    served = last_endpoint_url(directory)
    broker = running_broker(directory)
    if broker is not None:
        stop_broker(directory, broker)
        said.append(f"The lab's broker at {broker.endpoint_url} has stopped.")
    variables = own_part(dotenv)
    if is_in(variables.get("MESSAGE_STATUS_TABLE", ""), directory):
        remove_own_part(dotenv)
        said.append(f"{dotenv} no longer has what `forebay lab up` wrote.")
        endpoint_url = variables.get(ENDPOINT_VARIABLES[0])
        if served != endpoint_url:
            said.append(f"Queues at {endpoint_url} are left as they are.")
    if keep_data:
        said.append(f"The data stays in {data}.")
    elif directory.remove():
        said.append(f"Queues, messages and tables in {data} are removed.")
    for line in said or ["There is nothing to stop or to remove here."]:
        typer.echo(line)
