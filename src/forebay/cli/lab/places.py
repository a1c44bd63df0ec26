"""The options that tell the commands of the lab's infrastructure where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.errors import SettingsError
from forebay.lab.infrastructure.wanted import wanted_queues
from forebay.protocol.identifiers import is_queue_name
from forebay.protocol.limits import QUEUE_NAME_CHARACTERS_MAX

LabEndpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        "--endpoint-url",
        metavar="URL",
        help="Where SQS is. Without it: AWS_ENDPOINT_URL_SQS, which .env has.",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        file_okay=False,
        help="Where the lab's broker, its log, queues.toml and the tables are.",
    ),
]


def project_of_names(project: str) -> str:
    """It, if SQS takes the names that begin with it. Raises SettingsError otherwise."""
    names = [queue.name for wanted in wanted_queues(project) for queue in wanted.queues]
    if project and all(map(is_queue_name, names)):
        return project
    most = QUEUE_NAME_CHARACTERS_MAX - max(map(len, names)) + len(project)
    raise SettingsError(
        f"--project {project!r}: names of queues begin with it, so it must have letters, digits,"
        f" hyphens and underscores, 1 to {most} of them."
    )


Project = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What the names of the queues begin with.",
        callback=project_of_names,
    ),
]
