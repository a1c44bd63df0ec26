"""`forebay lab preflight`: whether this machine has what the lab needs."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli.lab.places import Data
from forebay.cli.serve import DEFAULT_HOST, DEFAULT_PORT
from forebay.cli.tables import console, table
from forebay.lab.infrastructure.background_broker import running_broker
from forebay.lab.infrastructure.directory import DEFAULT_DIRECTORY, LabDirectory
from forebay.lab.infrastructure.preflight import (
    Tool,
    check_aws,
    check_directory,
    check_extra,
    check_port,
    check_python,
)


def preflight(
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port that the lab's broker is to have.")
    ] = DEFAULT_PORT,
    data: Data = DEFAULT_DIRECTORY,
    aws: Annotated[
        bool, typer.Option("--aws", help="Check what runs on Amazon SQS need, too.")
    ] = False,
) -> None:
    """Check what the lab needs of this machine, and say what to do about what is missing.

    For runs on AWS as well:

        forebay lab preflight --aws

    The exit code is 0 only when all is there that is not optional.
    """
    broker = running_broker(LabDirectory(data))
    tools = [
        check_python(),
        check_extra(),
        check_port(DEFAULT_HOST, port, broker.endpoint_url if broker else None),
        check_directory(data),
        *(check_aws() if aws else ()),
    ]
    shown = table("", "needed", "found")
    for tool in tools:
        shown.add_row(_mark(tool), tool.name, tool.found)
    console().print(shown)
    for tool in tools:
        if not tool.here:
            typer.echo(f"{tool.name}{' (optional)' if tool.optional else ''}: {tool.advice}")
    if any(tool.stops for tool in tools):
        raise typer.Exit(1)
    typer.echo("The lab can run here.")


def _mark(tool: Tool) -> str:
    return "ok" if tool.here else ("missing" if tool.stops else "optional")
