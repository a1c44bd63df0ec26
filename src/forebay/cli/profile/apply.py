"""`forebay profile apply`: set all that a profile says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import typer

from forebay.cli.parameters.store import By, Json, Note, Store, said, texts, user, with_store
from forebay.cli.profile.found import Directories, profiles
from forebay.cli.tables import console, table
from forebay.parameters.schema import Value
from forebay.parameters.store import ParameterStore, check_result
from forebay.tunables import SCHEMA


def apply(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The profile.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    by: By = None,
    note: Note = "",
    store: Store = None,
    directories: Directories = None,
    as_json: Json = False,
) -> None:
    """Set every parameter of a profile, with those that it inherits, all of them or none.

    See first what would change:

        forebay profile apply stress --dry-run
        forebay profile apply stress --note "load test"

    Parameters that it does not name stay as they are.
    """
    values = profiles(directories).resolved(name)
    note = note or f"profile {name}"
    if dry_run:
        changes = with_store(store, lambda opened: _changes(opened, values))
    else:
        made = with_store(
            store, lambda opened: opened.set(values, by=user(by), note=note), writes=True
        )
        changes = [(change.name, change.old, change.new) for change in made]
    if as_json:
        rows = [{"name": each, "old": old, "new": new} for each, old, new in changes]
        answer = {"profile": name, "dry_run": dry_run, "changes": rows}
        typer.echo(msgspec.json.encode(answer).decode())
        return
    if not changes:
        typer.echo(f"All is as {name} says already.")
        return
    shown = table("parameter", "now" if dry_run else "was", "would be" if dry_run else "now")
    for each, old, new in changes:
        shown.add_row(each, said(each, old), said(each, new))
    console().print(shown)
    if dry_run:
        typer.echo("Nothing was changed.")


async def _changes(
    store: ParameterStore, values: Mapping[str, Value]
) -> list[tuple[str, str | None, str | None]]:
    """What setting these values would change."""
    stored = texts(await store.values())
    check_result(SCHEMA, stored, values)
    return [
        (name, stored.get(name), str(value))
        for name, value in values.items()
        if stored.get(name) != str(value)
    ]
