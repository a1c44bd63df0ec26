"""Writers and broker killed again and again: every row once, and doubled without the packs' ids."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.bars import Bar
from bench.usage_pipeline import as_url
from bench.usage_sizes import Sizes
from forebay.testing.postgres import postgres_server
from tests.acceptance.usage_kills import Account, kill_again_and_again

#: Kills of writers that forget the ids of packs.
_CONTROL_KILLS = 6


class Report(Struct):
    """The part as it is written to JSON."""

    killed: Account
    #: The same with writers that do not know a pack that comes again.
    control: Account


def run(sizes: Sizes, console: Console, _earlier: object) -> Report:
    """Kill, with the ids and without them."""
    with console.status("kills"):
        killed = _run(sizes.writer_kills, sizes.broker_kills, forgets_ids=False)
    with console.status("kills without the ids of packs"):
        control = _run(_CONTROL_KILLS, 0, forgets_ids=True)
    return Report(killed, control)


def bars(report: Report) -> list[Bar]:
    """What was asked for."""
    killed, control = report.killed, report.control
    wrong = abs(killed.rows - killed.delivered) + abs(killed.counted - killed.rows)
    wrong += killed.wrong_counters + killed.not_delivered + killed.rejects
    return [
        Bar("kills, rows and counters that are wrong", 0, wrong, at_most=True),
        Bar("kills, messages left or dead", 0, killed.left + killed.dead, at_most=True),
        Bar("kills between commit and delete", 1, killed.kills_after_commit),
        Bar("kills without ids, rows too many", 1, control.rows - control.delivered),
    ]


def print_tables(report: Report, console: Console) -> None:
    """Show the report to people."""
    table = Table(title="Writers and broker killed with SIGKILL while usage is logged")
    table.add_column("what")
    table.add_column("as it is", justify="right")
    table.add_column("without the packs' ids", justify="right")
    accounts = report.killed, report.control
    for text, name in (
        ("kills of a writer", "writer_kills"),
        ("of them between commit and delete", "kills_after_commit"),
        ("kills of the broker", "broker_kills"),
        ("logs delivered", "delivered"),
        ("logs lost", "not_delivered"),
        ("rows", "rows"),
        ("counted", "counted"),
        ("keys with a wrong counter", "wrong_counters"),
    ):
        table.add_row(text, *(f"{getattr(account, name):,}" for account in accounts))
    table.add_row("rows too many", *(f"{each.rows - each.delivered:,}" for each in accounts))
    table.add_row("seconds", *(f"{each.took_s:.0f}" for each in accounts))
    console.print(table)


def _run(writer_kills: int, broker_kills: int, *, forgets_ids: bool) -> Account:
    with (
        tempfile.TemporaryDirectory(prefix="forebay-bench-") as directory,
        postgres_server() as conninfo,
    ):
        return asyncio.run(
            kill_again_and_again(
                Path(directory),
                as_url(conninfo),
                writer_kills=writer_kills,
                broker_kills=broker_kills,
                forgets_ids=forgets_ids,
            )
        )
