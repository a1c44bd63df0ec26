"""`forebay usage partitions`: makes the days ahead, and drops those that were kept long enough."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from forebay.apps.usage.retention import Retention, day_name, day_of
from forebay.apps.usage.settings import usage_database
from forebay.apps.usage.store import Maintained, Partition
from forebay.apps.usage.stores import open_usage_store
from forebay.cli.usage.database import Database


def partitions(
    database: Database = None,
    days_ahead: Annotated[
        int, typer.Option(min=0, max=366, metavar="DAYS", help="For how many days to make them.")
    ] = 7,
    keep_days: Annotated[
        int,
        typer.Option(
            min=2, max=36_500, metavar="DAYS", help="How long events and rejects are kept."
        ),
    ] = 90,
    list_only: Annotated[
        bool, typer.Option("--list", help="Change nothing; show what there is.")
    ] = False,
) -> None:
    """Make the partitions of the days ahead, and drop the days that were kept long enough.

    Run it every day. A writer makes a partition that is missing itself, so
    a day that was left out costs it a moment and no event. What a retention
    of 90 days drops:

        forebay usage partitions --database postgresql://writer@db/usage --keep-days 90

    Ids of packs are kept for 35 days: longer than SQS can keep a message in
    the queue and then in its dead-letter queue, so that none is ever written
    twice. SQLite has no partitions; there the rows are deleted.
    """
    asyncio.run(_maintain(database, days_ahead, keep_days, list_only=list_only))


async def _maintain(
    database: str | None, days_ahead: int, keep_days: int, *, list_only: bool
) -> None:
    retention = Retention(events_days=keep_days, rejects_days=keep_days)
    store = await open_usage_store(
        await usage_database(database).read(), retention=retention, make_tables=not list_only
    )
    try:
        done = None if list_only else await store.maintain(days_ahead=days_ahead)
        there = await store.partitions()
    finally:
        await store.close()
    if done is not None:
        _say(done)
    _show(there)


def _say(done: Maintained) -> None:
    for what, names in (
        ("made", done.made),
        ("dropped", done.dropped),
        ("in use, to be dropped another time", done.in_use),
    ):
        for name in names:
            typer.echo(f"{name}: {what}")
    typer.echo(
        f"{len(done.made)} made, {len(done.dropped)} dropped,"
        f" {done.ids_forgotten:,} ids of packs forgotten."
    )


def _show(there: list[Partition]) -> None:
    table = Table("table", "days", "from", "to", "size", box=None)
    for name, days in groupby(there, key=lambda each: each.table):
        span = list(days)
        sizes = [each.size_bytes for each in span if each.size_bytes is not None]
        table.add_row(
            name,
            str(len(span)),
            day_name(day_of(span[0].span.from_ms)),
            day_name(day_of(span[-1].span.from_ms)),
            f"{sum(sizes) / 1_000_000:,.1f} MB" if sizes else "",
        )
    Console(width=100).print(table)
