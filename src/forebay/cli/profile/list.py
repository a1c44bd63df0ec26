"""`forebay profile list`: the profiles there are."""

from __future__ import annotations

import msgspec
import typer
from rich.text import Text

from forebay.cli.parameters.store import Json
from forebay.cli.profile.found import Directories, profiles
from forebay.cli.tables import console, table


def list(directories: Directories = None, as_json: Json = False) -> None:  # noqa: A001 - the command's name
    """List the profiles: what each is for, and what it inherits from.

    With your own, which stand in a directory as NAME.toml:

        forebay profile list --profiles deploy/profiles
    """
    found = profiles(directories)
    if as_json:
        rows = [
            {
                "name": profile.name,
                "inherits": profile.inherits,
                "description": profile.description,
                "parameters": profile.parameters,
                "file": profile.file,
            }
            for profile in found
        ]
        typer.echo(msgspec.json.encode(rows).decode())
        return
    shown = table("profile", "inherits", "what for")
    for profile in found:
        shown.add_row(profile.name, profile.inherits or "", Text(profile.description))
    console().print(shown)
