"""`forebay parameters reset`: let programs have their own value again."""

from __future__ import annotations

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
)
from forebay.tunables import SCHEMA


def reset(
    name: ParameterName,
    by: By = None,
    note: Note = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Let every program have its own value of a parameter again.

    It is taken out of the table:

        forebay parameters reset sqs_flush_ms --note "the sale is over"
    """
    parameter = SCHEMA[name]
    made = with_store(
        store,
        lambda opened: opened.set({parameter.name: None}, by=user(by), note=note),
        writes=True,
    )
    if as_json:
        typer.echo(msgspec.json.encode(made[0] if made else None).decode())
    elif made:
        typer.echo(f"{name} is not set any more; it was {said(name, made[0].old)}.")
    else:
        typer.echo(f"{name} was not set.")
