"""`forebay lab list`: the scenarios, and what is to be known of one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from forebay.cli.lab.description import describe
from forebay.cli.lab.words import scenario_names
from forebay.cli.tables import console, table
from forebay.lab.catalogue import catalogue, chosen

#: Out here the word list still has its usual meaning.
_Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Scenarios, to be told all about.", autocompletion=scenario_names
    ),
]


def list(  # noqa: A001 - the command's name
    names: _Names = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell all about every scenario.")
    ] = False,
) -> None:
    """List the scenarios: how long they take, and what happens in each.

    What one of them claims, what protects it, and what can be set:

        forebay lab list crash
    """
    out = console()
    if names or verbose:
        for scenario in chosen(names or catalogue()):
            describe(scenario, out)
        return
    shown = table("scenario", "speed", "what happens")
    for name, scenario in catalogue().items():
        shown.add_row(Text(name), scenario.speed, Text(scenario.title()))
    out.print(shown)
