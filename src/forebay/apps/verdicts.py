"""What must be true at the end of a demo, and whether it is."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from rich.table import Table
from rich.text import Text


class Verdict(Struct, frozen=True):
    """Whether an invariant holds, and what was counted or what breaks it."""

    invariant: str
    holds: bool
    detail: str


def verdict_table(verdicts: Iterable[Verdict]) -> Table:
    """The verdicts for a terminal."""
    table = Table(title="Invariants", title_justify="left")
    table.add_column("invariant")
    table.add_column("verdict")
    for verdict in verdicts:
        word = Text("holds", "green") if verdict.holds else Text("BROKEN", "bold red")
        table.add_row(
            verdict.invariant, word + Text(f" {verdict.detail}" if verdict.detail else "")
        )
    return table
