"""`forebay usage report`: who used what, how long it took, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from forebay.apps.usage.report import UsageReport, gather_report
from forebay.apps.usage.report_page import report_page
from forebay.apps.usage.report_text import report_text
from forebay.apps.usage.retention import Span
from forebay.apps.usage.settings import DatabaseAddress, usage_database
from forebay.apps.usage.stores import open_usage_store
from forebay.cli.usage.database import Database
from forebay.cli.usage.since import moment_of
from forebay.clock import SystemClock
from forebay.errors import SettingsError

_TITLE = "Usage"


def report(
    database: Database = None,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="90s, 15m, 2h or 7d ago, or a date and time.")
    ] = "1d",
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, writable=True, help="Draw it into a page instead."
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="The heading of the page.")] = _TITLE,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON instead.")] = False,
) -> None:
    """Show how often each key, asset, source and cache tier was used, and how long that took.

    The last hour, as a page that needs no network:

        forebay usage report --since 1h --html usage.html

    Percentiles are of every row in that time, not of samples. What the
    counters say is of all days.
    """
    if html is not None and as_json:
        raise SettingsError("--html and --json exclude each other. Leave one out.")
    if html is not None and not html.absolute().parent.is_dir():
        raise SettingsError(f"--html {html}: that directory does not exist.")
    now_ms = SystemClock().wall_ms()
    span = Span(moment_of(since, now_ms), now_ms + 1)
    found = asyncio.run(_gather(usage_database(database), span))
    if html is not None:
        html.write_text(report_page(found, title), "utf-8")
        typer.echo(f"{html} shows {found.rows:,} uses.")
    elif as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        Console().print(report_text(found))


async def _gather(address: DatabaseAddress, span: Span) -> UsageReport:
    store = await open_usage_store(await address.read(), make_tables=False)
    try:
        return await gather_report(store, span)
    finally:
        await store.close()
