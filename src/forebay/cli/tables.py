"""Tables on standard output."""

from __future__ import annotations

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

#: Columns of tables that go to a file or a pipe: enough for the longest cells.
_WIDTH_WITHOUT_TERMINAL = 240


def table(*headings: str) -> Table:
    """A table for a terminal or a pipe."""
    made = Table(box=SIMPLE_HEAD)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    return made


def console() -> Console:
    """Standard output, wide enough for programs that read it."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
