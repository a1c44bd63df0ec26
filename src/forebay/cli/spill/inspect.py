"""`forebay spill inspect`: what waits in a spill directory."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from forebay.cli.spill.directory import Directory, readable_time
from forebay.producer.spill.inspection import Look, SpillReport, spill_directories

#: Columns that a table takes where nobody says how many there are.
_WIDTH_WITHOUT_TERMINAL = 160


def inspect(
    directory: Directory,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one object for each slot.")
    ] = False,
) -> None:
    """Show what waits in a spill directory: segments, records, events, bytes, times, account.

    It reads only, so a producer may be using the directory:

        forebay spill inspect /var/spool/forebay

    The account is in events: what was appended was acknowledged, is corrupt,
    was dropped to make room, or waits. A process that opens the directory
    sends what waits.
    """
    reports = [Look(each).report() for each in spill_directories(directory)]
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(reports)).decode())
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    for report in reports:
        _print(console, report)


def _print(console: Console, report: SpillReport) -> None:
    used = f"used by process {report.process}" if report.process else "used by no process"
    owned = f" for {report.owner}" if report.owner else ""
    console.print(f"{report.directory}{owned}, {used}", soft_wrap=True)
    account = report.account
    console.print(
        f"  events: {account.appended:,} appended = {account.acknowledged:,} acknowledged"
        f" + {account.corrupt:,} corrupt + {account.dropped_oldest:,} dropped to make room"
        f" + {account.waiting:,} waiting",
        soft_wrap=True,
    )
    if report.records:
        console.print(
            f"  waiting: records {report.records:,}, bytes {account.waiting_bytes:,}, from"
            f" {readable_time(report.first_ms)} to {readable_time(report.last_ms)} UTC",
            soft_wrap=True,
        )
    if report.quarantined:
        console.print(
            f"  set aside in quarantine/: files {report.quarantined:,},"
            f" bytes {report.quarantined_bytes:,}",
            soft_wrap=True,
        )
    for damage in report.damages:
        console.print(f"  damaged: {damage}", soft_wrap=True)
    if report.segments:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("  segment")
        for heading in ("bytes", "records", "events", "corrupt"):
            table.add_column(heading, justify="right")
        table.add_column("from (UTC)")
        table.add_column("to (UTC)")
        for each in report.segments:
            table.add_row(
                f"  {each.name}",
                *(f"{n:,}" for n in (each.size_bytes, each.records, each.events, each.corrupt)),
                readable_time(each.first_ms),
                readable_time(each.last_ms),
            )
        console.print(table)
