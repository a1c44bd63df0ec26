"""The options that tell the commands of the lab's infrastructure where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Project = Annotated[
    str, typer.Option(metavar="NAME", help="What the names of the queues begin with.")
]
