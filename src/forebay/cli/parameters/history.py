"""`forebay parameters history`: what was changed, when, by whom and why."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from forebay.cli.parameters.store import Json, Store, said, with_store
from forebay.cli.tables import console, table
from forebay.parameters.store import HISTORY_MAX


def history(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The parameter; all without it.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000_000, metavar="N", help="The latest so many.")
    ] = HISTORY_MAX,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show the changes of parameters, the latest last.

    Of one of them:

        forebay parameters history sqs_flush_ms

    Also of what was written into the table with SQL.
    """
    changes = with_store(store, lambda opened: opened.history(name, limit=limit))
    if as_json:
        typer.echo(msgspec.json.encode(changes).decode())
        return
    if not changes:
        typer.echo(f"{name} was never changed." if name else "No parameter was ever changed.")
        return
    shown = table("at", "parameter", "old", "new", "by", "note")
    for change in changes:
        shown.add_row(
            change.at,
            Text(change.name),
            Text(said(change.name, change.old)),
            Text(said(change.name, change.new)),
            Text(change.by),
            Text(change.note),
        )
    console().print(shown)
