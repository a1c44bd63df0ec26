"""`forebay lab validate`: whether the queues and tables of every scenario are as they should be."""

from __future__ import annotations

import typer

from forebay.cli.connection import Aws, Connection, Region, choose_place
from forebay.cli.lab.places import Data, LabEndpoint, Project
from forebay.cli.tables import console, table
from forebay.errors import ServiceUnreachable
from forebay.lab.extra import require_extra
from forebay.lab.infrastructure.directory import DEFAULT_DIRECTORY, LabDirectory
from forebay.lab.scenario import PROJECT


def validate(
    endpoint: LabEndpoint = None,
    aws: Aws = False,
    region: Region = None,
    project: Project = PROJECT,
    data: Data = DEFAULT_DIRECTORY,
) -> None:
    """Check every queue, redrive policy and table that the scenarios need. Nothing is changed.

    At the SQS of .env, and at Amazon SQS:

        forebay lab validate
        forebay lab validate --aws --region eu-west-1

    Compared are the attributes of each queue, such as its visibility timeout
    and whether it is FIFO, where its dead letters go, and after how many
    receives. The exit code is 0 only when nothing is missing or differs. On AWS
    no tables are checked: there the scenarios keep theirs in files of each run.
    """
    require_extra()
    # The scenarios need what is there now.
    from forebay.lab.infrastructure.checking import check_queues, check_tables  # noqa: PLC0415
    from forebay.lab.infrastructure.wanted import wanted_queues  # noqa: PLC0415

    place, wanted = choose_place(endpoint, aws, region), wanted_queues(project)
    try:
        with Connection(place) as sqs:
            checks = sqs.run(check_queues(sqs.client, wanted))
    except ServiceUnreachable as error:
        if place.endpoint_url is None:
            raise
        raise ServiceUnreachable(
            f"No SQS answers at {place}. Run `forebay lab up`, or name another one with --endpoint."
        ) from error
    if not aws:
        checks += check_tables(LabDirectory(data), wanted)
    checks.sort(key=lambda check: [each.scenario for each in wanted].index(check.scenario))
    shown = table("scenario", "what", "name", "")
    for check in checks:
        shown.add_row(check.scenario, check.kind, check.name, "ok" if check.holds else "wrong")
    console().print(shown)
    wrong = [check for check in checks if not check.holds]
    for check in wrong:
        for problem in check.problems:
            typer.echo(f"{check.scenario}, {check.kind} {check.name}: {problem}")
    if wrong:
        typer.echo(
            f"{len(wrong)} of {len(checks)} are missing or differ at {place}."
            + ("" if aws else " `forebay lab up` makes what is missing and changes what differs.")
        )
        raise typer.Exit(1)
    typer.echo(f"All {len(checks)} are as the {len(wanted)} scenarios need them, at {place}.")
