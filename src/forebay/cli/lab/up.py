"""`forebay lab up`: a broker in the background, and all that the scenarios need."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Annotated
from urllib.parse import urlsplit

import typer

from forebay.broker.bootstrap import Deed, Outcome
from forebay.cli.connection import Connection, Region, choose_place
from forebay.cli.lab.places import Data, Project
from forebay.cli.serve import DEFAULT_PORT
from forebay.errors import ForebayError, SettingsError
from forebay.lab.extra import require_extra
from forebay.lab.infrastructure.background_broker import (
    RunningBroker,
    last_endpoint_url,
    running_broker,
    start_broker,
)
from forebay.lab.infrastructure.directory import DEFAULT_DIRECTORY, LabDirectory
from forebay.lab.infrastructure.dotenv import DOTENV
from forebay.lab.infrastructure.own_part import require_own, write_own_part
from forebay.lab.scenario import PROJECT
from forebay.protocol.identifiers import DEFAULT_REGION


class TerraformsWork(ForebayError):
    """The queues on AWS are made by Terraform, with modules that come with the next release.
    Without --aws the lab has a broker of its own, and --endpoint URL takes another SQS."""


class RunsElsewhere(ForebayError):
    """The lab's broker runs already, on another port."""


def up(
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Port of the lab's broker; 0 takes a free one.",
            show_default=f"the one it had before, or {DEFAULT_PORT}",
        ),
    ] = None,
    data: Data = DEFAULT_DIRECTORY,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            "--endpoint-url",
            metavar="URL",
            help="Make the queues at this SQS, and start no broker.",
        ),
    ] = None,
    aws: Annotated[
        bool, typer.Option("--aws", help="Not yet: the queues on AWS are Terraform's work.")
    ] = False,
    region: Region = None,
    project: Project = PROJECT,
    force: Annotated[
        bool, typer.Option("--force", help="Add to a .env that somebody else wrote.")
    ] = False,
) -> None:
    """Start a broker, make the queues and tables of every scenario, and write .env.

    On the usual port, and on another one:

        forebay lab up
        forebay lab up --port 9400

    The broker goes on in the background until `forebay lab down`. A second
    `up` makes only what is missing. After it, `forebay produce`, `forebay
    consume` and the commands of the lab find the queue and the tables of the
    scenario happy in .env of this directory.
    """
    if aws:
        raise TerraformsWork
    require_extra()
    # Its scenarios need what is there now.
    from forebay.lab.infrastructure.standing import make_all  # noqa: PLC0415
    from forebay.lab.infrastructure.wanted import wanted_queues  # noqa: PLC0415

    dotenv, directory = Path(DOTENV), LabDirectory(data)
    if endpoint is not None and port is not None:
        raise SettingsError("--port is for the lab's own broker. Leave it or --endpoint out.")
    require_own(dotenv, force)
    directory.make()
    place, said = choose_place(endpoint, False, region), []
    if endpoint is None:
        broker, text = _broker(directory, port, place.region)
        said.append(text)
        place = choose_place(broker.endpoint_url, False, region or broker.region)
    wanted = wanted_queues(project)
    with Connection(place) as sqs:
        made = sqs.run(
            make_all(
                sqs.client,
                directory,
                wanted,
                endpoint_url=str(place.endpoint_url),
                region=place.region,
            )
        )
    write_own_part(dotenv, made.variables)
    forebay = command_here(sys.argv[0], which("forebay"))
    said += [
        _said_of_queues(made.queues, len(wanted), directory),
        f"Tables: {len(wanted)} files in {directory.tables}, {made.new_tables} of them new.",
        f"{DOTENV} has {', '.join(made.variables)}.",
        f"Now: {forebay} produce --n 5; {forebay} consume; {forebay} lab validate",
    ]
    typer.echo("\n".join(said))


def command_here(given: str, on_path: str | None) -> str:
    """The command as the user's shell finds it: in a clone it is not on the PATH."""
    return given if on_path is None and Path(given).name == "forebay" else "forebay"


def _broker(
    directory: LabDirectory, port: int | None, region: str | None
) -> tuple[RunningBroker, str]:
    """The lab's broker, started if it does not run, and what is said of it."""
    running = running_broker(directory)
    if running is None:
        if port is None:
            port = urlsplit(last_endpoint_url(directory) or "").port or DEFAULT_PORT
        started = start_broker(directory, port, region or DEFAULT_REGION)
        return started, (
            f"The lab's broker serves SQS at {started.endpoint_url}.\n"
            f"It is process {started.pid}; its log is {directory.broker_log}."
        )
    if port and not running.endpoint_url.endswith(f":{port}"):
        raise RunsElsewhere(
            f"The lab's broker runs already, at {running.endpoint_url}. Stop it first:"
            " forebay lab down --keep-data"
        )
    return running, f"The lab's broker runs already, at {running.endpoint_url}."


def _said_of_queues(outcomes: Sequence[Outcome], scenarios: int, directory: LabDirectory) -> str:
    count = {deed: sum(outcome.deed is deed for outcome in outcomes) for deed in Deed}
    return (
        f"Queues: {len(outcomes)} of {scenarios} scenarios, {count[Deed.CREATED]} created and"
        f" {count[Deed.UPDATED]} changed. They are listed in {directory.queues_file}."
    )
