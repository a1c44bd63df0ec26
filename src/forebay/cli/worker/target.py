"""Which worker a command means, and where its SQS is."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from forebay.client.endpoint import ENDPOINT_VARIABLES, resolve_endpoint

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:OBJECT",
        help="A Worker, an App, or a function without arguments that gives one.",
    ),
]
WorkerEndpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help="Where SQS is, for a client that names no endpoint itself. Without it:"
        " AWS_ENDPOINT_URL_SQS or AWS_ENDPOINT_URL, else Amazon SQS.",
        show_default=False,
    ),
]


def give_endpoint(url: str) -> None:
    """Let clients that are made from now on find SQS there, in this process and its children.

    Raises SettingsError when it is no URL.
    """
    resolve_endpoint(url, None, {})
    os.environ[ENDPOINT_VARIABLES[0]] = url
