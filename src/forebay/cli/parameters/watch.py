"""`forebay parameters watch`: changes as they come."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import Annotated

import msgspec
import typer

from forebay.cli.parameters.store import Json, Store, line_of, texts, with_store
from forebay.errors import StoreError
from forebay.parameters.store import ParameterStore
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

    Also of what is written into the table with SQL, and whether that is
    refused. A store that is away is waited for.
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
        self._away = False

    async def look(self) -> None:
        """Look once. A store that is away is told of once, and once when it is back."""
        try:
            if self._latest is None:
                await self._begin()
            else:
                await self._tell(self._latest)
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
        values = await self._store.values()
        self._latest = changes[-1].number if changes else 0
        typer.echo(f"Watching the parameters at {self._store.name}: {len(values)} set.", err=True)

    async def _tell(self, latest: int) -> None:
        # It tells a store that is away from one without changes.
        now = texts(await self._store.values())
        changes = await self._store.history(after=latest, limit=_CHANGES_MAX)
        _, refused = SCHEMA.accept(now, {})
        for change in changes:
            self._latest = change.number
            # What has changed again is not what is refused.
            why = refused.get(change.name) if now.get(change.name) == change.new else None
            if self._as_json:
                row = {**msgspec.structs.asdict(change), "refused": why}
                typer.echo(msgspec.json.encode(row).decode())
            else:
                typer.echo(f"{line_of(change)}. Refused: {why}" if why else line_of(change))
