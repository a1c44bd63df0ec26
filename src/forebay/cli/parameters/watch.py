"""`forebay parameters watch`: changes as they come."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import msgspec
import typer

from forebay.cli.parameters.store import Json, Store, line_of, said, texts, with_store
from forebay.errors import StoreError
from forebay.parameters.store import Change, ParameterStore, StoredValue
from forebay.tunables import SCHEMA

#: Most changes that are told of one look; the others are of no interest any more.
_CHANGES_MAX = 1_000


def watch(
    every: Annotated[
        float, typer.Option(min=0.05, max=86_400, metavar="S", help="Seconds between two looks.")
    ] = 1.0,
    seconds: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="End after so long, not at Ctrl-C.")
    ] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Print the changes of parameters as they come, until Ctrl-C.

    In another terminal, while somebody sets some:

        forebay parameters watch

    What is written into the table with SQL is told as well, and whether it
    is refused. A store that is away is waited for.
    """
    end_s = None if seconds is None else time.monotonic() + seconds

    async def look_again_and_again(opened: ParameterStore) -> None:
        watcher = Watcher(opened, as_json=as_json)
        await watcher.look()
        while end_s is None or time.monotonic() + every <= end_s:
            await asyncio.sleep(every)
            await watcher.look()

    with suppress(KeyboardInterrupt):
        with_store(store, look_again_and_again)


class Watcher:
    """Looks at a store, and prints what is new."""

    def __init__(self, store: ParameterStore, *, as_json: bool) -> None:
        self._store = store
        self._as_json = as_json
        #: The number of the latest change that was seen; None before the first look.
        self._latest: int | None = None
        self._known: dict[str, str] = {}
        self._away = False

    async def look(self) -> None:
        """Look once. A store that is away is told of once, and once when it is back."""
        try:
            if self._latest is None:
                await self._begin()
            else:
                # In this order: what changes between the two is among the changes, at least.
                stored = await self._store.values()
                changes = await self._store.history(after=self._latest, limit=_CHANGES_MAX)
                self._tell(stored, changes)
        except StoreError as error:
            if not self._away:
                typer.echo(f"{error} Waiting for it.", err=True)
            self._away = True
            return
        if self._away:
            typer.echo(f"{self._store.name} is back.", err=True)
        self._away = False
        sys.stdout.flush()

    async def _begin(self) -> None:
        changes = await self._store.history(limit=1)
        self._known = texts(await self._store.values())
        self._latest = changes[-1].number if changes else 0
        typer.echo(
            f"Watching the parameters at {self._store.name}: {len(self._known)} set.", err=True
        )

    def _tell(self, stored: Mapping[str, StoredValue], changes: list[Change]) -> None:
        for change in changes:
            self._print(line_of(change), change)
            self._latest = change.number
            if change.new is None:
                self._known.pop(change.name, None)
            else:
                self._known[change.name] = change.new
        told = {change.name for change in changes}
        now = texts(stored)
        _, refused = SCHEMA.accept(now, {})
        for name in sorted((now.keys() | self._known.keys()) - told):
            # One that changed between the two reads is told at the next look.
            if now.get(name) != self._known.get(name):
                self._tell_of_sql(name, self._known.get(name), now.get(name), refused.get(name))
        self._known = {
            **{name: text for name, text in self._known.items() if name in told},
            **{name: text for name, text in now.items() if name not in told},
        }

    def _tell_of_sql(self, name: str, old: str | None, new: str | None, why: str | None) -> None:
        end = f". Refused: {why}" if why else ""
        line = f"{name}  {said(name, old)} → {said(name, new)}, written with SQL{end}"
        self._print(line, {"name": name, "old": old, "new": new, "by": None, "refused": why})

    def _print(self, line: str, value: object) -> None:
        typer.echo(msgspec.json.encode(value).decode() if self._as_json else line)
