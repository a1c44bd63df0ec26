"""`forebay parameters get`: one parameter."""

from __future__ import annotations

import msgspec
import typer

from forebay.cli.parameters.store import Json, ParameterName, Store, texts, with_store, with_unit
from forebay.parameters.schema import in_words
from forebay.tunables import SCHEMA


def get(name: ParameterName, store: Store = None, as_json: Json = False) -> None:
    """Print the value of a parameter, what it means and who set it.

    The value is alone on standard output:

        forebay parameters get sqs_flush_ms

    For what is not set it is the default; a program may have another
    one of its own.
    """
    parameter = SCHEMA[name]
    stored = with_store(store, lambda opened: opened.values())
    row = stored.get(name)
    values, refused = SCHEMA.accept(texts(stored), {})
    value = values.get(name)
    if as_json:
        answer = {
            "name": name,
            "value": value,
            "default": parameter.default,
            "unit": parameter.unit,
            "refused": refused.get(name),
            "updated_at": row.updated_at if row else None,
            "updated_by": row.updated_by if row else None,
        }
        typer.echo(msgspec.json.encode(answer).decode())
        return
    shown = parameter.default if value is None else value
    typer.echo("none" if shown is None else f"{shown}")
    if name in refused:
        typer.echo(f"Refused in the table: {refused[name]}", err=True)
    elif row is None or value is None:
        typer.echo("It is not set: this is the default.", err=True)
    else:
        typer.echo(
            f"{with_unit(parameter, value)}, set by {row.updated_by} at {row.updated_at}.", err=True
        )
    typer.echo(
        f"{parameter.meaning} {parameter.range[:1].upper()}{parameter.range[1:]};"
        f" {in_words(parameter.default)} by default.",
        err=True,
    )
