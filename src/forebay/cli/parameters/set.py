"""`forebay parameters set`: change a parameter of programs that run."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from forebay.cli.parameters.store import (
    By,
    Json,
    Note,
    ParameterName,
    Store,
    said,
    user,
    with_store,
    with_unit,
)
from forebay.tunables import SCHEMA

#: A value below 0 is a value, and no option.
CONTEXT = {"ignore_unknown_options": True}


def set(  # noqa: A001 - the command's name
    name: ParameterName,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its new value.")],
    by: By = None,
    note: Note = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Set a parameter of producers and workers, while they work.

    Programs that follow the store have it at their next look, within five
    seconds unless they were told otherwise:

        forebay parameters set sqs_flush_ms 50 --note "a sale begins at noon"

    A value that is out of range is refused, and nothing changes.
    """
    parameter = SCHEMA[name]
    read = parameter.read(value)
    made = with_store(
        store, lambda opened: opened.set({name: read}, by=user(by), note=note), writes=True
    )
    if as_json:
        typer.echo(msgspec.json.encode(made[0] if made else None).decode())
    elif made:
        typer.echo(f"{name} is {with_unit(parameter, read)} now; it was {said(name, made[0].old)}.")
    else:
        typer.echo(f"{name} is {with_unit(parameter, read)} already.")
