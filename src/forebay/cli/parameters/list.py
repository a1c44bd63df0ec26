"""`forebay parameters list`: all parameters, and what is set."""

from __future__ import annotations

import msgspec
import typer
from rich.text import Text

from forebay.cli.parameters.store import Json, Store, texts, with_store
from forebay.cli.tables import console, table
from forebay.parameters.schema import Schema, Value, in_words
from forebay.parameters.store import StoredValue
from forebay.tunables import SCHEMA


def list(store: Store = None, as_json: Json = False) -> None:  # noqa: A001 - the command's name
    """List the parameters: what is set, the default, the range and the meaning.

    Of this directory, and of a database that the machines of a deployment share:

        forebay parameters list
        forebay parameters list --store postgresql://app@db/shop

    A program has its own value of what is not set.
    """
    stored = with_store(store, lambda opened: opened.values())
    if as_json:
        typer.echo(msgspec.json.encode([*_rows(SCHEMA, stored)]).decode())
        return
    values, refused = SCHEMA.accept(texts(stored), {})
    shown = table("parameter", "set to", "default", "range", "set by", "meaning")
    for parameter in SCHEMA:
        name = parameter.name
        row = stored.get(name)
        shown.add_row(
            name,
            Text(_value(values.get(name), row, refused.get(name))),
            in_words(parameter.default),
            parameter.range,
            Text("" if row is None else f"{row.updated_by}, {row.updated_at}"),
            parameter.meaning,
        )
    console().print(shown)
    for reason in refused.values():
        typer.echo(f"Refused: {reason}", err=True)
    for name in sorted(stored):
        if name not in SCHEMA and (meant := SCHEMA.meant(name)):
            typer.echo(
                f"The table has {name}, which is no parameter. Did you mean {meant}?", err=True
            )


def _value(value: Value | None, row: StoredValue | None, refused: str | None) -> str:
    if row is None:
        return ""
    if refused is not None or value is None:
        return f"{row.value[:40]} (refused)"
    return in_words(value)


def _rows(schema: Schema, stored: dict[str, StoredValue]) -> tuple[dict[str, object], ...]:
    values, refused = schema.accept(texts(stored), {})
    return tuple(
        {
            "name": parameter.name,
            "value": values.get(parameter.name),
            "default": parameter.default,
            "least": None if parameter.choices else parameter.least,
            "most": None if parameter.choices else parameter.most,
            "choices": parameter.choices or None,
            "unit": parameter.unit,
            "meaning": parameter.meaning,
            "refused": refused.get(parameter.name),
            "updated_at": row.updated_at if row else None,
            "updated_by": row.updated_by if row else None,
        }
        for parameter in schema
        for row in [stored.get(parameter.name)]
    )
