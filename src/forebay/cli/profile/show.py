"""`forebay profile show`: what a profile sets."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from forebay.cli.parameters.store import Json, with_unit
from forebay.cli.profile.found import Directories, profiles
from forebay.cli.tables import console, table
from forebay.tunables import SCHEMA


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The profile.")],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="With what it inherits, and from where.")
    ] = False,
    directories: Directories = None,
    as_json: Json = False,
) -> None:
    """Show what a profile sets.

    With what it inherits, and from where:

        forebay profile show stress --resolved
    """
    found = profiles(directories)
    profile = found[name]
    values = found.resolved(name) if resolved else profile.parameters
    origins = found.origins(name)
    if as_json:
        answer = {
            "name": name,
            "description": profile.description,
            "inherits": profile.inherits,
            "file": profile.file,
            "parameters": values,
        }
        typer.echo(msgspec.json.encode(answer).decode())
        return
    inherits = f", inherits {profile.inherits}" if profile.inherits else ""
    out = console()
    out.print(Text(f"{name}{inherits} ({profile.file})"), soft_wrap=True)
    out.print(Text(profile.description), soft_wrap=True)
    shown = table("parameter", "value", *(["from"] if resolved else []))
    for parameter in SCHEMA:
        if parameter.name in values:
            own = [origins[parameter.name]] if resolved else []
            shown.add_row(parameter.name, with_unit(parameter, values[parameter.name]), *own)
    out.print(shown)
