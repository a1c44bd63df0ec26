"""`forebay profile diff`: where two profiles differ."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from forebay.cli.parameters.store import Json, with_unit
from forebay.cli.profile.found import Directories, profiles
from forebay.cli.tables import console, table
from forebay.parameters.schema import Parameter, Value
from forebay.tunables import SCHEMA


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A profile.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The one to compare it with.")],
    directories: Directories = None,
    as_json: Json = False,
) -> None:
    """Show what two profiles set differently.

    What they inherit counts as theirs:

        forebay profile diff production stress
    """
    found = profiles(directories)
    left, right = found.resolved(first), found.resolved(second)
    differing = [
        parameter for parameter in SCHEMA if left.get(parameter.name) != right.get(parameter.name)
    ]
    if as_json:
        rows = {
            parameter.name: {
                first: left.get(parameter.name),
                second: right.get(parameter.name),
            }
            for parameter in differing
        }
        typer.echo(msgspec.json.encode(rows).decode())
        return
    if not differing:
        typer.echo(f"{first} and {second} set the same.")
        return
    shown = table("parameter", first, second)
    for parameter in differing:
        shown.add_row(
            parameter.name,
            _cell(parameter, left.get(parameter.name)),
            _cell(parameter, right.get(parameter.name)),
        )
    console().print(shown)


def _cell(parameter: Parameter, value: Value | None) -> str:
    return "not set" if value is None else with_unit(parameter, value)
